import Bytes
package import Programs
package import Rules
package import Scoring
package import Tokenization
import Vectors

/// A model file, opened and checked: everything that an engine needs. Immutable.
package final class Model: Sendable {
    package let name: String
    package let tables: ModelTables
    /// K and θ of `tables`, for a scorer.
    package let contextRules: BidRules
    /// Discrete rules over the records.
    package let phrases: RuleSet
    package let pieces: PieceModel
    package let provenance: [(key: String, value: String)]
    package let selfTest: (text: String, vector: [Float])
    /// SHA-256 as the header states it; of a model with other rules than its file's, that of these.
    package let digest: [UInt8]
    /// Names and sizes of the file's sections, in order.
    package let sections: [(name: String, bytes: Int)]
    private let file: MappedFile

    package var dimensions: Int { tables.shape.dimensions }

    /// Maps a file, checks header, table, the checksum of every section, and that they fit together.
    package convenience init(_ path: String) throws(ModelError) {
        let file: MappedFile
        do throws(FileError) { file = try MappedFile(path) } catch { throw .file(error) }
        try self.init(file)
    }

    /// The model that a file of these contents would be.
    package convenience init(_ contents: ModelContents) throws(ModelError) {
        let file: MappedFile
        do throws(FileError) {
            file = try MappedFile(copying: contents.serialized(), path: contents.name)
        } catch { throw .file(error) }
        try self.init(file)
    }

    private init(_ file: MappedFile) throws(ModelError) {
        self.file = file
        let path = file.path
        let layout = try ModelLayout(file.bytes, path: path)
        digest = layout.digest
        sections = layout.entries.map { ($0.name, $0.bytes.count) }
        let header = try Self.parseShape(layout, path: path)
        name = header.name
        tables = try Self.parseTables(layout, header, owner: file, path: path)
        do throws(ScoringError) {
            contextRules = try BidRules(tables.rules, thresholds: tables.thresholds)
        } catch { throw .section(path: path, name: "rules", reason: error.summary) }
        let phraseBytes = Array(try layout.section("phrases"))
        do throws(RuleError) {
            phrases = try RuleSet(canonicalBytes: phraseBytes)
        } catch { throw .section(path: path, name: "phrases", reason: error.summary) }
        guard phrases.vocabularyCount == header.pieceCount, phrases.recordCount == header.recordCount,
            phrases.contextDimensions == 0 || phrases.contextDimensions == header.shape.contextRank
        else { throw .section(path: path, name: "phrases", reason: "its sizes are not those of section \"shape\"") }
        let pieceBytes = try layout.section("pieces")
        do throws(TokenizationError) { pieces = try PieceModel(serialized: pieceBytes) } catch {
            throw .section(path: path, name: "pieces", reason: error.summary)
        }
        guard pieces.vocabularyCount == header.pieceCount else {
            throw .section(
                path: path, name: "pieces",
                reason: "has \(pieces.vocabularyCount) pieces, and section \"shape\" says \(header.pieceCount)")
        }
        provenance = try Self.parseOrigin(layout.section("origin"), path: path)
        selfTest = try Self.parseSelfTest(
            layout.section("selftest"), dimensions: header.shape.dimensions, path: path)
    }

    /// This model with other discrete rules in the place of its own.
    /// - Parameters:
    ///   - records: a record a phrase, as `RecordTable` lays them out.
    ///   - digest: what the whole is called.
    ///   - testVector: the vector of this model's test text then.
    /// - Throws: `section`, as if rules and records were those of a file.
    package init(
        _ base: Model, phrases: RuleSet, records: [UInt8], digest: [UInt8], testVector: [Float]
    ) throws(ModelError) {
        func fail(_ section: String, _ reason: String) -> ModelError {
            .section(path: base.file.path, name: section, reason: reason)
        }
        let tables = base.tables
        guard phrases.vocabularyCount == tables.vocabularyCount, testVector.count == tables.shape.dimensions,
            phrases.contextDimensions == 0 || phrases.contextDimensions == tables.shape.contextRank
        else { throw fail("phrases", "the sizes of the new rules are not those of the model") }
        guard records.count == phrases.phraseCount * tables.shape.recordBytes else {
            throw fail("records", "\(records.count) bytes are not \(phrases.phraseCount) records of \(tables.shape.recordBytes)")
        }
        let memory: MappedFile
        do throws(FileError) {
            memory = try MappedFile(
                joining: tables.records.bytes(ofFirst: tables.vocabularyCount), records, path: base.file.path)
        } catch { throw .file(error) }
        guard let start = memory.bytes.baseAddress else { throw fail("records", "is empty") }
        let table = RecordTable(
            shape: tables.shape, base: start.assumingMemoryBound(to: UInt8.self), count: phrases.recordCount, owner: memory)
        if let record = table.firstUnusable { throw fail("records", "a number of record \(record) is out of range") }
        self.tables = ModelTables(
            shape: tables.shape, vocabularyCount: tables.vocabularyCount, records: table, projection: tables.projection,
            neighbours: tables.neighbours, couplings: tables.couplings, rules: tables.rules, thresholds: tables.thresholds,
            lifts: tables.lifts, temperature: tables.temperature)
        self.phrases = phrases
        self.digest = digest
        name = base.name
        contextRules = base.contextRules
        pieces = base.pieces
        provenance = base.provenance
        selfTest = (base.selfTest.text, testVector)
        sections = base.sections
        file = base.file
    }

    private struct Header {
        let shape: ModelShape
        let pieceCount: Int
        let recordCount: Int
        let temperature: Float
        let name: String
    }

    private static func parseShape(_ layout: ModelLayout, path: String) throws(ModelError) -> Header {
        var reader = ByteReader(try layout.section("shape"))
        var sizes: [Int] = []
        while sizes.count < 7, let size = reader.next(UInt32.self) { sizes.append(Int(size)) }
        guard sizes.count == 7, let bits = reader.next(UInt32.self),
            let name = reader.next(count: reader.remaining).map({ String(decoding: $0, as: UTF8.self) })
        else { throw .section(path: path, name: "shape", reason: "is too short") }
        let shape = ModelShape(
            dimensions: sizes[0], contextRank: sizes[1], neighbourRank: sizes[2], couplingCount: sizes[3],
            ruleCount: sizes[4])
        if let problem = shape.problem { throw .section(path: path, name: "shape", reason: problem) }
        let (pieces, records, temperature) = (sizes[5], sizes[6], Float(bitPattern: bits))
        guard (1...ModelFormat.maximumVocabulary).contains(records), (1...records).contains(pieces) else {
            throw .section(path: path, name: "shape", reason: "\(pieces) pieces and \(records) records are out of range")
        }
        guard (0.25...16).contains(temperature) else {
            throw .section(path: path, name: "shape", reason: "the temperature is not between 0.25 and 16")
        }
        return Header(shape: shape, pieceCount: pieces, recordCount: records, temperature: temperature, name: name)
    }

    private static func parseTables(
        _ layout: ModelLayout, _ header: Header, owner: MappedFile, path: String
    ) throws(ModelError) -> ModelTables {
        let shape = header.shape
        /// int8 rows, their scales, and `extra` floats behind.
        func rows(_ name: String, _ count: Int, _ width: Int, extra: Int = 0) throws(ModelError) -> (RowTable, [Float]) {
            let bytes = try layout.section(name, byteCount: count * (width + 4) + extra * 4)
            let values = try floats(bytes.dropFirst(count * width), name: name, path: path)
            guard let base = bytes.baseAddress else { throw .section(path: path, name: name, reason: "is empty") }
            let table = RowTable(
                elements: base.assumingMemoryBound(to: Int8.self),
                scales: (base + count * width).assumingMemoryBound(to: Float.self), count: count, dimensions: width,
                owner: owner)
            return (table, Array(values.dropFirst(count)))
        }
        let recordBytes = try layout.section("records", byteCount: header.recordCount * shape.recordBytes)
        guard let base = recordBytes.baseAddress else { throw .section(path: path, name: "records", reason: "is empty") }
        let records = RecordTable(
            shape: shape, base: base.assumingMemoryBound(to: UInt8.self), count: header.recordCount, owner: owner)
        if let record = records.firstUnusable {
            throw .section(path: path, name: "records", reason: "a number of record \(record) is out of range")
        }
        let (neighbourCount, couplingCount) = (4 * shape.neighbourRank, 2 * shape.couplingCount)
        let gates = try floats(
            layout.section("gates", byteCount: 4 * (neighbourCount + couplingCount))[...], name: "gates", path: path)
        let lifts = try rows("lifts", shape.couplingCount + shape.ruleCount, shape.dimensions).0
        guard (0..<lifts.count).allSatisfy({ lifts.scale($0) >= 0 }) else {
            throw .section(path: path, name: "lifts", reason: "has a negative scale")
        }
        let (rules, thresholds) = try rows("rules", shape.ruleCount, shape.featureCount, extra: shape.ruleCount)
        return ModelTables(
            shape: shape, vocabularyCount: header.pieceCount, records: records,
            projection: try rows("project", shape.contextRank, shape.dimensions).0,
            neighbours: Array(gates.prefix(neighbourCount)), couplings: Array(gates.dropFirst(neighbourCount)),
            rules: rules, thresholds: thresholds,
            lifts: lifts,
            temperature: header.temperature)
    }

    private static func floats(
        _ bytes: Slice<UnsafeRawBufferPointer>, name: String, path: String
    ) throws(ModelError) -> [Float] {
        var reader = ByteReader(UnsafeRawBufferPointer(rebasing: bytes))
        var values: [Float] = []
        while let bits = reader.next(UInt32.self) { values.append(Float(bitPattern: bits)) }
        guard values.allSatisfy(\.isFinite) else {
            throw .section(path: path, name: name, reason: "has a number that is not finite")
        }
        return values
    }

    private static func parseOrigin(
        _ bytes: UnsafeRawBufferPointer, path: String
    ) throws(ModelError) -> [(key: String, value: String)] {
        var result: [(key: String, value: String)] = []
        for line in bytes.split(separator: UInt8(ascii: "\n")) {
            guard let cut = line.firstIndex(of: UInt8(ascii: "=")) else {
                throw .section(path: path, name: "origin", reason: "line \(result.count + 1) has no =")
            }
            result.append(
                (String(decoding: line[..<cut], as: UTF8.self), String(decoding: line[(cut + 1)...], as: UTF8.self)))
        }
        return result
    }

    private static func parseSelfTest(
        _ bytes: UnsafeRawBufferPointer, dimensions: Int, path: String
    ) throws(ModelError) -> (text: String, vector: [Float]) {
        var reader = ByteReader(bytes)
        guard let length = reader.next(UInt32.self), let text = reader.next(count: Int(length)),
            reader.remaining == dimensions * 4
        else { throw .section(path: path, name: "selftest", reason: "its lengths do not fit together") }
        var vector: [Float] = []
        while let bits = reader.next(UInt32.self) { vector.append(Float(bitPattern: bits)) }
        guard vector.allSatisfy(\.isFinite) else {
            throw .section(path: path, name: "selftest", reason: "the vector is not finite")
        }
        return (String(decoding: text, as: UTF8.self), vector)
    }

    /// The serialised SentencePiece model, as the file holds it: what another model with the same pieces is written with.
    package func pieceModel() throws(ModelError) -> [UInt8] {
        Array(try ModelLayout(file.bytes, path: file.path).section("pieces"))
    }

    /// Computes the digest of the file again, which opening does not: the checksums of the sections are quicker.
    package func verifyDigest() -> Bool {
        guard let layout = try? ModelLayout(file.bytes, path: file.path) else { return false }
        let hash = SHA256()
        hash.update(layout.table)
        for entry in layout.entries { hash.update(entry.bytes) }
        return hash.finalize() == layout.digest
    }
}
