import Bytes
import Foundation
import Models
import Programs
import TestSupport
import Testing
import Vectors

@Suite struct ModelCommandTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    @Test func `model info prints JSON that names the model's parts`() throws {
        var contents = TinyModel.contents
        contents.provenance.append(("note", "a \"quoted\" \\ line\tend"))
        let path = folder.path("m.sae")
        try contents.write(to: path)
        let run = try Command(["model", "info", path, "--json", "--verify"])
        #expect(run.status == 0 && run.errors.isEmpty)
        let object = try JSONSerialization.jsonObject(with: Data(run.output.utf8)) as? [String: Any]
        #expect(object?["name"] as? String == "tiny")
        #expect(object?["dimensions"] as? Int == 256)
        #expect(object?["pieces"] as? Int == contents.pieceCount)
        #expect(object?["digest"] as? String == hexadecimal(try Model(path).digest))
        let bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        #expect(object?["sha256"] as? String == hexadecimal(bytes.withUnsafeBytes { SHA256.digest(of: $0) }))
        #expect((object?["sections"] as? [String: Int])?["records"] == contents.records.bytes.count)
        #expect((object?["provenance"] as? [String: String])?["note"] == "a \"quoted\" \\ line\tend")
        #expect(object?["verified"] as? Bool == true)
    }

    @Test func `model info prints a line a fact`() throws {
        let run = try Command(["model", "info", TinyModel.write(in: folder)])
        #expect(run.status == 0)
        #expect(run.output.split(separator: "\n").contains { $0.hasPrefix("name ") && $0.hasSuffix(" tiny") })
        #expect(!run.output.contains("verified"))
    }

    @Test func `a damaged model is exit code 65, a missing one 66`() throws {
        let path = folder.path("m.sae")
        var writer = try AtomicFileWriter(path)
        var bytes = TinyModel.contents.serialized()
        bytes[bytes.count - 1] ^= 1
        try writer.append(bytes)
        try writer.commit()
        let damaged = try Command(["model", "info", path])
        #expect(damaged.status == 65 && damaged.errors.contains("section \"selftest\""))
        #expect(try Command(["model", "info", folder.path("none.sae")]).status == 66)
    }

    @Test func `verification fails when the digest or the self-test does`() throws {
        var contents = TinyModel.contents
        contents.selfTest.vector.reverse()
        let path = folder.path("m.sae")
        try contents.write(to: path)
        #expect(try Command(["model", "info", path]).status == 0)
        #expect(try Command(["model", "info", path, "--verify"]).status == 70)
    }
}
