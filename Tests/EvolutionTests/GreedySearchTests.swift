import Bytes
import Evolution
import Fitting
import KeyValueStore
import Models
import Programs
import RuleLibrary
import Rules
import SAEEngine
import TestSupport
import Testing
import Tokenization
import Vectors

/// A bag of pieces learns from a bag of pieces that also knows two phrases.
@Suite(.serialized) struct GreedySearchTests {
    private let folder: TemporaryFolder
    private let base: Model
    private let material: MiningMaterial

    init() throws {
        folder = try TemporaryFolder()
        let shape = ModelShape(dimensions: 32)
        let pieces = try PieceModel(serialized: TinyModel.pieceModel)
        var random = SeededRandom(seed: 21)
        func records(_ count: Int) -> PackedRecords {
            var records = PackedRecords(shape: shape)
            for _ in 0..<count {
                records.append((0..<shape.recordElementCount).map { _ in Float.random(in: -1...1, using: &random) }, bias: 0)
            }
            return records
        }
        func ids(_ text: String) -> [UInt32] { Array(text.utf8).withUnsafeBufferPointer { pieces.encodeByLibrary($0) } }
        let planted: [Pattern] = ["the window", "seven bridges"].map { .adjacent(ids($0).prefix(2).map { PatternElement.record($0) }) }
        let none = try RuleSet(vocabularyCount: pieces.vocabularyCount, phraseCount: 0)
        var contents = ModelContents(
            name: "bag", records: records(pieces.vocabularyCount), projection: QuantizedRows(quantizing: [], dimensions: 32),
            neighbours: [], couplings: [], rules: QuantizedRows(quantizing: [], dimensions: 32), thresholds: [],
            lifts: QuantizedRows(quantizing: [], dimensions: 32), phrases: none, temperature: 1,
            pieceModel: TinyModel.pieceModel, pieceCount: pieces.vocabularyCount, provenance: [], selfTest: ("", []))
        try Engine.recordSelfTest("The cat watches the river.", in: &contents)
        base = try Model(contents)
        let phrases = Generation(
            model: Digest(base.digest), origin: Origin(),
            rules: try RuleSet(
                vocabularyCount: pieces.vocabularyCount, phraseCount: 2,
                rules: planted.enumerated().map { Rule($1, .add, phrase: UInt32($0), worth: 1) }),
            records: records(2).bytes)
        let teacher = Engine(
            model: try phrases.model(
                on: base, worth: Worth(madeMilliseconds: 0, testVector: base.selfTest.vector), basePath: "bag"))
        let texts = GeneratedText.sentences(4_000, seed: 22)
        var writer = try NumpyWriter(folder.path("v.npy"), rowCount: texts.count, columnCount: 32)
        try writer.append(teacher.embed(TextBatch(texts), threads: 2).vectors)
        try writer.finish()
        var file = try AtomicFileWriter(folder.path("t.txt"))
        try file.append(Array(texts.joined(separator: "\n").utf8))
        try file.commit()
        material = try MiningMaterial(
            [TeacherPair(texts: folder.path("t.txt"), vectors: folder.path("v.npy"))], engine: Engine(model: base),
            options: Self.fitting)
    }

    private static var fitting: FittingOptions {
        var options = FittingOptions()
        options.heldOutShare = 1_000
        return options
    }

    private func run(_ name: String, rounds: Int) throws -> (digest: Digest, library: [Library.Summary]) {
        var options = GreedySearch.Options()
        options.rounds = rounds
        options.mining.minimumCount = 20
        let search = GreedySearch(
            base, path: "bag", material: material, corpus: Digest(of: [1]), teacher: Digest(of: [2]), fitting: Self.fitting,
            options: options)
        var library = try Library(folder.path(name), access: .writing)
        var clock: Int64 = 0
        let digest = try search.run(in: &library) { clock += 1; return clock }
        #expect(try library.verify().faults == [])
        return (digest, try library.summaries())
    }

    @Test func `what the teacher knows and the model does not is found, and texts held out gain`() throws {
        let (digest, generations) = try run("a", rounds: 3)
        let first = try #require(generations.first), last = try #require(generations.last)
        #expect(first.ruleCount == 0 && last.digest == digest && last.ruleCount > 0 && generations.count > 1)
        for (parent, child) in zip(generations, generations.dropFirst()) {
            #expect(child.origin.parents == [parent.digest])
            #expect(try #require(child.worth.scores["check-cosine"]) > #require(parent.worth.scores["check-cosine"]))
        }
        let (before, after) = (
            try #require(first.worth.scores["held-out-cosine"]), try #require(last.worth.scores["held-out-cosine"])
        )
        // All that is missing is the two phrases, in one text of six.
        #expect(1 - after < (1 - before) * 0.9, "\(before) \(after)")
    }

    @Test func `a search that is gone on with ends as one that was not interrupted`() throws {
        let whole = try run("a", rounds: 2)
        let part = try run("b", rounds: 1)
        #expect(part.library.count == 2 && whole.library.count >= 2)
        #expect(part.library.map(\.digest) == Array(whole.library.map(\.digest).prefix(2)))
        #expect(try run("b", rounds: 2).digest == whole.digest)
    }
}
