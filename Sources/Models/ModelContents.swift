package import Bytes
package import Tokenization
package import Vectors

/// All that a model file holds, before it is written.
package struct ModelContents: Sendable {
    package var name: String
    /// A row a piece.
    package var lexemes: QuantizedRows
    /// A serialised SentencePiece model with as many pieces.
    package var pieceModel: [UInt8]
    /// Where the model comes from: digests of corpus and teacher, seed, options, scores. Keys without `=`,
    /// keys and values without line breaks.
    package var provenance: [(key: String, value: String)]
    /// A text and the vector that the model gives it: what a start checks.
    package var selfTest: (text: String, vector: [Float])

    package init(
        name: String, lexemes: QuantizedRows, pieceModel: [UInt8],
        provenance: [(key: String, value: String)], selfTest: (text: String, vector: [Float])
    ) {
        self.name = name
        self.lexemes = lexemes
        self.pieceModel = pieceModel
        self.provenance = provenance
        self.selfTest = selfTest
    }

    /// The vector that an engine will give a text with this model: what `selfTest` records. Zeros for a text
    /// without pieces.
    package func vector(of text: String) throws(TokenizationError) -> [Float] {
        let model = try PieceModel(serialized: pieceModel)
        var tokenizer = Tokenizer(model: model, cacheSlots: 2)
        var pieces = PieceBuffer()
        _ = Array(text.utf8).withUnsafeBufferPointer {
            tokenizer.encode($0, maximumPieces: $0.count * 12 + 1, usingCache: false, into: &pieces)
        }
        var sum = [Float](repeating: 0, count: lexemes.dimensions)
        lexemes.gatherSum(Array(pieces.ids), into: &sum)
        _ = normalize(sum, count: sum.count, into: &sum)
        return sum
    }

    /// The bytes of the file.
    package func serialized() -> [UInt8] {
        let sections = [
            ("shape", shape), ("rows", lexemes.elements.map { UInt8(bitPattern: $0) }),
            ("scales", floats(lexemes.scales)), ("pieces", pieceModel), ("origin", origin),
            ("selftest", selfTestSection),
        ]
        var table = ByteWriter()
        var offset = ModelFormat.headerBytes + sections.count * ModelFormat.entryBytes
        var body = ByteWriter()
        let bodyStart = offset
        for (name, bytes) in sections {
            while (bodyStart + body.bytes.count) % ModelFormat.alignment != 0 { body.append(UInt8(0)) }
            offset = bodyStart + body.bytes.count
            table.append(contentsOf: ModelFormat.nameBytes(name))
            table.append(UInt32(0))
            table.append(bytes.withUnsafeBytes { crc32c($0) })
            table.append(UInt64(offset))
            table.append(UInt64(bytes.count))
            body.append(contentsOf: bytes)
        }
        let digest = SHA256()
        table.bytes.withUnsafeBytes { digest.update($0) }
        for (_, bytes) in sections { bytes.withUnsafeBytes { digest.update($0) } }
        var head = ByteWriter()
        head.append(contentsOf: ModelFormat.magic)
        head.append(ModelFormat.version)
        head.append(UInt32(sections.count))
        head.append(UInt64(bodyStart + body.bytes.count))
        var tail = ByteWriter()
        tail.append(UInt32(0))
        tail.append(contentsOf: digest.finalize())
        let checked = head.bytes + tail.bytes + table.bytes
        head.append(checked.withUnsafeBytes { crc32c($0) })
        return head.bytes + tail.bytes + table.bytes + body.bytes
    }

    /// Writes the file so that its name always stands for a whole one.
    package func write(to path: String) throws(FileError) {
        var writer = try AtomicFileWriter(path)
        try writer.append(serialized())
        try writer.commit()
    }

    private var shape: [UInt8] {
        var writer = ByteWriter()
        writer.append(UInt32(lexemes.dimensions))
        writer.append(UInt32(lexemes.count))
        writer.append(contentsOf: Array(name.utf8))
        return writer.bytes
    }

    private var origin: [UInt8] { Array(provenance.map { "\($0.key)=\($0.value)\n" }.joined().utf8) }

    private var selfTestSection: [UInt8] {
        var writer = ByteWriter()
        writer.append(UInt32(selfTest.text.utf8.count))
        writer.append(contentsOf: Array(selfTest.text.utf8))
        writer.append(contentsOf: floats(selfTest.vector))
        return writer.bytes
    }

    private func floats(_ values: [Float]) -> [UInt8] {
        var writer = ByteWriter()
        for value in values { writer.append(value) }
        return writer.bytes
    }
}
