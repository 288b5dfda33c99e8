import Bytes
import Foundation
import SAEEngine
import TestSupport
import Testing
import Tokenization

@Suite struct MiningCommandTests {
    private let folder: TemporaryFolder
    private let model: String

    init() throws {
        folder = try TemporaryFolder()
        model = try TinyModel.write(in: folder)
    }

    private func write(_ text: String, _ name: String) throws -> String {
        try text.write(toFile: folder.path(name), atomically: true, encoding: .utf8)
        return folder.path(name)
    }

    private func objects(_ run: Command) throws -> [[String: Any]] {
        #expect(run.status == 0, "\(run.errors)")
        return try run.output.split(separator: "\n").map {
            try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
        }
    }

    /// The pieces of a text, as rules name them.
    private func pieces(_ text: String) throws -> [String] {
        var tokenizer = Tokenizer(model: try PieceModel(serialized: TinyModel.pieceModel))
        var buffer = PieceBuffer()
        Array(text.utf8).withUnsafeBufferPointer { _ = tokenizer.encode($0, maximumPieces: 64, into: &buffer) }
        return buffer.ids.map { "%\($0)" }
    }

    @Test func `the least energy is reached where rules do not compete, and known where they do`() throws {
        let (the, cat) = (try #require(try pieces("the").last), try #require(try pieces("the cat").dropFirst(try pieces("the").count).first))
        let texts = try write("the cat\na dog\nthe cat the cat\n", "texts")
        let rules = try write("phrases 1\n\(the) \(cat) => replace $0 worth 1\n", "rules")
        let rows = try objects(try Command(["rules", "optimum", texts, "--rules", rules, "--model", model]))
        #expect(rows.count == 10 && rows[0]["schedule"] as? String == "greedy")
        for row in rows {
            #expect(row["texts"] as? Int == 3 && row["matching"] as? Int == 2, "\(row)")
            let (energy, least) = (row["energy"] as? Double ?? .nan, row["least_energy"] as? Double ?? .nan)
            #expect(energy >= least - 1e-4, "\(row)")
        }
        // Three places, each worth 1 and free for the taking.
        #expect(rows[0]["energy"] as? Double == rows[0]["least_energy"] as? Double)
    }

    @Test func `a damaged file of rules is named, and shown to no terminal`() throws {
        let texts = try write("the cat\n", "texts")
        try Data([0xff, 0xfe, 0x1b, 0x5b]).write(to: URL(fileURLWithPath: folder.path("junk")))
        for (file, words) in [(folder.path("junk"), "not UTF-8"), (try write("\u{1b}]0;x", "escape"), "line 1, column 1")] {
            let run = try Command(["rules", "optimum", texts, "--rules", file, "--model", model])
            #expect(run.status == 65 && run.output.isEmpty)
            #expect(run.errors.contains(file) && run.errors.contains(words), "\(run.errors)")
            #expect(!run.errors.utf8.contains(0x1b))
        }
        #expect(try Command(["rules", "optimum", texts, "--rules", folder.path("none"), "--model", model]).status == 66)
    }

    @Test func `mined rules and their phrases are files that belong together and can be read back`() throws {
        let lines = GeneratedText.sentences(1_500, seed: 11)
        let texts = try write(lines.joined(separator: "\n"), "texts")
        // The teacher says what the engine does, and something of its own of one pair of words.
        let engine = try Engine(contentsOf: model)
        var vectors = engine.embed(TextBatch(lines), threads: 2).vectors
        for (row, line) in lines.enumerated() where line.contains("broken clock") {
            for d in 0..<engine.dimensions { vectors[row * engine.dimensions + d] += d % 2 == 0 ? 0.1 : -0.1 }
        }
        var file = try NumpyWriter(folder.path("v.npy"), rowCount: lines.count, columnCount: engine.dimensions)
        try file.append(vectors)
        try file.finish()
        let (rules, phrases) = (folder.path("rules"), folder.path("phrases.npy"))
        let run = try Command([
            "rules", "mine", texts, folder.path("v.npy"), "--model", model, "--output", rules, "--phrases", phrases,
            "--minimum-count", "20",
        ])
        let row = try #require(try objects(run).first)
        let kept = try #require(row["kept"] as? Int)
        #expect(kept > 0 && kept <= row["taken"] as? Int ?? 0)
        #expect(try NumpyArray(phrases).rowCount == kept)
        for figure in ["cosine", "agreement"] {
            let scores = try #require(row[figure] as? [Double])
            #expect(scores.count == 2 && scores.allSatisfy { $0 > 0 && $0 <= 1 }, "\(row)")
        }
        let text = try String(contentsOfFile: rules, encoding: .utf8)
        #expect(text.hasPrefix("phrases \(kept)\n") && text.split(separator: "\n").count == kept + 1, "\(text)")
        let optimum = try Command(["rules", "optimum", texts, "--rules", rules, "--model", model, "--maximum", "200"])
        #expect(try objects(optimum).allSatisfy { $0["texts"] as? Int == 200 })
    }

    @Test func `vectors of another width are exit code 65, and leave no file`() throws {
        let texts = try write("the cat\n", "texts")
        var file = try NumpyWriter(folder.path("v.npy"), rowCount: 1, columnCount: 16)
        try file.append([Float](repeating: 1, count: 16))
        try file.finish()
        let run = try Command(["rules", "mine", texts, folder.path("v.npy"), "--model", model, "--output", folder.path("r")])
        #expect(run.status == 65 && run.errors.contains("16 columns where 256 are needed"), "\(run.errors)")
        #expect(!FileManager.default.fileExists(atPath: folder.path("r")))
    }
}
