import Foundation
import FuzzTargets
import Testing

/// Each fuzz target runs over the inputs that are kept for it in Tests/Fuzz/Corpus: seeds, and what once broke something.
@Suite struct CorpusTests {
    private static let corpus = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Fuzz/Corpus")

    private func inputs(of target: String) throws -> [URL] {
        try FileManager.default.contentsOfDirectory(at: Self.corpus.appending(path: target), includingPropertiesForKeys: nil)
            .sorted { $0.path < $1.path }
    }

    /// A broken promise is a trap: it ends the tests, with its words.
    @Test(arguments: FuzzTarget.all.keys.sorted())
    func `a target takes its corpus, cut short and with bytes changed`(_ name: String) throws {
        let target = try #require(FuzzTarget.all[name])
        let inputs = try inputs(of: name)
        #expect(inputs.count >= 3)
        for input in inputs {
            let bytes = [UInt8](try Data(contentsOf: input))
            #expect(bytes.count <= 16_384, "\(input.lastPathComponent) is large for a corpus")
            bytes.withUnsafeBytes(target)
            bytes.prefix(bytes.count / 2).withUnsafeBytes(target)
            for place in stride(from: 0, to: bytes.count, by: 1 + bytes.count / 7) {
                var changed = bytes
                changed[place] ^= 0x41
                changed.withUnsafeBytes(target)
            }
        }
    }

    @Test func `each target has a corpus, and each corpus a target`() throws {
        let folders = try FileManager.default.contentsOfDirectory(atPath: Self.corpus.path)
        #expect(Set(folders) == Set(FuzzTarget.all.keys))
    }
}
