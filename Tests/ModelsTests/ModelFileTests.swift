import Bytes
import Diagnostics
import Models
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
        #expect(model.dimensions == 256 && model.lexemes.count == contents.lexemes.count)
        #expect(model.lexemes.scale(17) == contents.lexemes.scales[17])
        #expect(model.lexemes.elements(17) == contents.lexemes.elements[17 * 256..<18 * 256].map(Float.init))
        #expect(model.provenance.map(\.value) == ["2"])
        #expect(model.selfTest.text == contents.selfTest.text && model.selfTest.vector == contents.selfTest.vector)
        #expect(model.verifyDigest())
    }

    @Test func `the same contents are the same bytes`() {
        #expect(TinyModel.contents.serialized() == TinyModel.contents.serialized())
    }

    @Test func `a truncated model says so at every length`() throws {
        let bytes = TinyModel.contents.serialized()
        for length in [8, 63, 64, 255, bytes.count / 2, bytes.count - 1] {
            guard case .truncated(_, let expected, let actual)? = try error(opening: Array(bytes[..<length])) else {
                Issue.record("length \(length) was not refused as truncated")
                continue
            }
            #expect(actual == length && expected > UInt64(length))
        }
    }

    @Test func `foreign and empty files are not models`() throws {
        #expect(try error(opening: []) == .foreign(path: folder.path("m.sae")))
        #expect(try error(opening: Array("PK\u{3}\u{4} something else".utf8)) == .foreign(path: folder.path("m.sae")))
    }

    @Test func `a newer format is told apart from damage`() throws {
        var bytes = TinyModel.contents.serialized()
        bytes[8] = 9
        #expect(try error(opening: bytes) == .newer(path: folder.path("m.sae"), version: 9))
    }

    @Test func `a flipped bit anywhere is refused, and names the section`() throws {
        let bytes = TinyModel.contents.serialized()
        let model = try Model(TinyModel.write(in: folder))
        #expect(model.sections.map(\.name) == ["shape", "rows", "scales", "pieces", "origin", "selftest"])
        var random = SeededRandom(seed: 4)
        for _ in 0..<60 {
            let position = Int.random(in: 8..<bytes.count, using: &random)
            var damaged = bytes
            damaged[position] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            let padding = bytes[position] == 0 && (try? error(opening: damaged)) == .some(nil)
            // Gaps between sections carry nothing; every other byte is covered by a checksum.
            if !padding { #expect(try error(opening: damaged) != nil) }
        }
        var damaged = bytes
        damaged[bytes.count - 1] ^= 1
        #expect(
            try error(opening: damaged)
                == .section(
                    path: folder.path("m.sae"), name: "selftest",
                    reason: "its checksum differs: the file is damaged"))
    }

    @Test func `a missing file says which`() {
        let error = #expect(throws: ModelError.self) { try Model("/nowhere/x.sae") }
        #expect(error?.summary == "cannot open /nowhere/x.sae: No such file or directory")
        #expect(error?.category == .notFound)
    }
}
