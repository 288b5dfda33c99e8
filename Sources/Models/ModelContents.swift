package import Bytes
package import Programs
package import Rules
package import Vectors

/// All that a model file holds, before it is written.
package struct ModelContents: Sendable {
    package var name: String
    /// Lexemes, a record a piece; then phrases.
    package var records: PackedRecords
    /// P, r rows of D.
    package var projection: QuantizedRows
    /// d, 4 × s.
    package var neighbours: [Float]
    /// e, 2 × c.
    package var couplings: [Float]
    /// K, H rows of D + c, and θ.
    package var rules: QuantizedRows
    package var thresholds: [Float]
    /// The columns of U, then the rows of V: c + H rows of D.
    package var lifts: QuantizedRows
    /// Discrete rules over the records.
    package var phrases: RuleSet
    /// The temperature of the gates to use.
    package var temperature: Float
    /// A serialised SentencePiece model with as many pieces.
    package var pieceModel: [UInt8]
    /// Pieces of that model: the first so many records are lexemes.
    package var pieceCount: Int
    /// Where the model comes from: digests of corpus and teacher, seed, options, scores. Keys without `=`,
    /// keys and values without line breaks.
    package var provenance: [(key: String, value: String)]
    /// A text and the vector that the model gives it: what a start checks.
    package var selfTest: (text: String, vector: [Float])

    package init(
        name: String, records: PackedRecords, projection: QuantizedRows, neighbours: [Float], couplings: [Float],
        rules: QuantizedRows, thresholds: [Float], lifts: QuantizedRows, phrases: RuleSet, temperature: Float,
        pieceModel: [UInt8], pieceCount: Int,
        provenance: [(key: String, value: String)], selfTest: (text: String, vector: [Float])
    ) {
        self.name = name
        self.records = records
        self.projection = projection
        self.neighbours = neighbours
        self.couplings = couplings
        self.rules = rules
        self.thresholds = thresholds
        self.lifts = lifts
        self.phrases = phrases
        self.temperature = temperature
        self.pieceModel = pieceModel
        self.pieceCount = pieceCount
        self.provenance = provenance
        self.selfTest = selfTest
    }

    /// The bytes of the file.
    package func serialized() -> [UInt8] {
        let sections = [
            ("shape", shape), ("records", records.bytes), ("project", rows(projection)),
            ("gates", floats(neighbours + couplings)), ("rules", rows(rules) + floats(thresholds)), ("lifts", rows(lifts)),
            ("phrases", phrases.canonicalBytes),
            ("pieces", pieceModel), ("origin", origin), ("selftest", selfTestSection),
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
        let shape = records.shape
        for size in [
            shape.dimensions, shape.contextRank, shape.neighbourRank, shape.couplingCount, shape.ruleCount, pieceCount,
            records.count,
        ] { writer.append(UInt32(size)) }
        writer.append(temperature)
        writer.append(contentsOf: Array(name.utf8))
        return writer.bytes
    }

    private func rows(_ rows: QuantizedRows) -> [UInt8] {
        rows.elements.map { UInt8(bitPattern: $0) } + floats(rows.scales)
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
