import Bytes
import Diagnostics
import Models
import Programs
import TestSupport
import Testing
import Vectors

@Suite struct ModelFileTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func error(opening bytes: [UInt8]) throws -> ModelError? {
        let path = folder.path("m.sae")
        var writer = try AtomicFileWriter(path)
        try writer.append(bytes)
        try writer.commit()
        do throws(ModelError) {
            _ = try Model(path)
            return nil
        } catch { return error }
    }

    @Test func `a written model reads back the same`() throws {
        let model = try Model(TinyModel.write(in: folder))
        let contents = TinyModel.contents
        #expect(model.name == "tiny")
        let (tables, shape) = (model.tables, TinyModel.shape)
        #expect(model.dimensions == 256 && tables.shape == shape && tables.temperature == 1.25)
        #expect(tables.records.count == contents.records.count && tables.vocabularyCount == contents.pieceCount)
        let record = contents.records.bytes[17 * shape.recordBytes..<18 * shape.recordBytes]
        #expect(tables.records.meaning(17).elements == record.prefix(256).map { Float(Int8(bitPattern: $0)) })
        // Of 16 elements in 4 bits the first 8 are the lower halves of 8 bytes.
        func elements(_ first: Int, _ count: Int) -> [Float] {
            let below = record.dropFirst(256 + first / 2).prefix(count / 2).map { Float($0 % 16) - 8 }
            let above = record.dropFirst(256 + first / 2).prefix(count / 2).map { Float($0 / 16) - 8 }
            return stride(from: 0, to: count / 2, by: 8).flatMap { below[$0..<$0 + 8] + above[$0..<$0 + 8] }
        }
        #expect(tables.records.left(17).elements == elements(32 + 32, 32))
        #expect(tables.records.right(17).elements == elements(32 + 32 + 32, 32))
        let scale = record.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: shape.recordNumbersOffset, as: Float.self) }
        #expect(tables.records.meaning(17).scale == scale && scale > 0)
        #expect(tables.neighbours == contents.neighbours && tables.couplings == contents.couplings)
        #expect(tables.thresholds == contents.thresholds && tables.rules.scale(5) == contents.rules.scales[5])
        #expect(tables.projection.elements(3) == contents.projection.elements[3 * 256..<4 * 256].map(Float.init))
        #expect(tables.lifts.elements(40) == contents.lifts.elements[40 * 256..<41 * 256].map(Float.init))
        #expect(model.provenance.map(\.value) == ["2"])
        #expect(model.selfTest.text == contents.selfTest.text && model.selfTest.vector == contents.selfTest.vector)
        #expect(model.verifyDigest())
    }

    @Test func `the same contents are the same bytes`() {
        #expect(TinyModel.contents.serialized() == TinyModel.contents.serialized())
    }

    @Test func `foreign and empty files are not models`() throws {
        #expect(try error(opening: []) == .foreign(path: folder.path("m.sae")))
        #expect(try error(opening: Array("PK\u{3}\u{4} something else".utf8)) == .foreign(path: folder.path("m.sae")))
    }

    @Test func `a newer and an older format are told apart from damage`() throws {
        var bytes = TinyModel.contents.serialized()
        bytes[8] = 9
        #expect(try error(opening: bytes) == .newer(path: folder.path("m.sae"), version: 9))
        bytes[8] = 2
        let older = try error(opening: bytes)
        #expect(older == .older(path: folder.path("m.sae"), version: 2))
        #expect(older?.category == .incompatible && older?.remedy?.hasPrefix("fit it again") == true)
    }

    @Test func `a flipped bit anywhere is refused`() throws {
        let bytes = TinyModel.contents.serialized()
        var random = SeededRandom(seed: 4)
        for _ in 0..<60 {
            let position = Int.random(in: 0..<bytes.count, using: &random)
            var damaged = bytes
            damaged[position] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            #expect(try error(opening: damaged) != nil, "byte \(position)")
        }
    }

    @Test func `a missing file says which`() {
        let error = #expect(throws: ModelError.self) { try Model("/nowhere/x.sae") }
        #expect(error?.summary == "cannot open /nowhere/x.sae: No such file or directory")
        #expect(error?.category == .notFound)
    }
}
