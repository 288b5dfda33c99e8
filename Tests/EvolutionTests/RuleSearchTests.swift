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
@Suite(.serialized) struct RuleSearchTests {
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

    private func options(_ method: SearchOptions.Method, rounds: Int) -> SearchOptions {
        var options = SearchOptions()
        (options.method, options.rounds, options.refitRounds) = (method, rounds, 2)
        (options.islandCount, options.populationCount, options.stepCount) = (2, 4, 4)
        options.candidateCount = 512
        options.additionCount = 4
        return options
    }

    private func search(_ options: SearchOptions, checkpoint: String? = nil) -> RuleSearch {
        RuleSearch(
            base, path: "bag", material: material, corpus: Digest(of: [1]), teacher: Digest(of: [2]), fitting: Self.fitting,
            options: options, checkpoint: checkpoint)
    }

    private func run(
        _ name: String, _ options: SearchOptions, checkpoint: String? = nil, resumes: Bool = false
    ) throws -> (result: SearchResult, library: [Library.Summary]) {
        var library = try Library(folder.path(name), access: .writing)
        var clock: Int64 = 0
        let result = try search(options, checkpoint: checkpoint).run(in: &library, resumes: resumes) {
            clock += 1
            return clock
        }
        #expect(try library.verify().faults == [])
        return (result, try library.summaries())
    }

    @Test(arguments: SearchOptions.Method.allCases)
    func `what the teacher knows and the model does not is found, and texts held out gain`(_ method: SearchOptions.Method) throws {
        let (result, generations) = try run("a", options(method, rounds: 4))
        #expect(result.start.ruleCount == 0 && result.best.ruleCount > 0)
        let stored = try #require(generations.first { $0.digest == result.best.digest })
        #expect(stored.origin.seed == 1 && stored.origin.corpus == Digest(of: [1]) && stored.origin.parents.count == 1)
        #expect(stored.worth.bytes == result.best.worth.bytes && stored.worth.microseconds > 0)
        let (before, after) = (
            try #require(result.start.worth.scores["held-out-cosine"]), try #require(result.best.worth.scores["held-out-cosine"])
        )
        // All that is missing is the two phrases, in one text of six.
        #expect(1 - after < (1 - before) * 0.5, "\(before) \(after)")
    }

    @Test(arguments: SearchOptions.Method.allCases)
    func `a search that is gone on with ends as one that was not interrupted, on any number of threads`(
        _ method: SearchOptions.Method
    ) throws {
        var six = options(method, rounds: 6)
        let whole = try run("whole", six)
        let state = folder.path("state")
        _ = try run("parts", options(method, rounds: 3), checkpoint: state)
        six.threadCount = 3
        let parts = try run("parts", six, checkpoint: state, resumes: true)
        #expect(parts.result.points.map(\.digest) == whole.result.points.map(\.digest))
        #expect(parts.result.history == whole.result.history)
        #expect(Set(whole.library.map(\.digest)).isSubset(of: parts.library.map(\.digest)))
    }

    @Test func `another seed is another search, and its state is refused`() throws {
        var options = options(.evolution, rounds: 1)
        let state = folder.path("state")
        let first = try run("a", options, checkpoint: state)
        options.seed = 2
        #expect(try run("b", options).result.history != first.result.history)
        #expect(throws: FittingError.checkpoint(path: state, reason: "a checkpoint of a search with other material or options")) {
            try run("c", options, checkpoint: state, resumes: true)
        }
    }

    @Test func `a damaged state is refused at every byte`() throws {
        let options = options(.evolution, rounds: 1)
        let state = folder.path("state")
        _ = try run("a", options, checkpoint: state)
        let whole = try MappedFile(state)
        let bytes = withExtendedLifetime(whole) { Array(whole.bytes) }
        for place in stride(from: 0, to: bytes.count, by: bytes.count / 7) {
            var damaged = bytes
            damaged[place] ^= 1
            var file = try AtomicFileWriter(state)
            try file.append(damaged)
            try file.commit()
            #expect(throws: FittingError.self) { try run("b", options, checkpoint: state, resumes: true) }
        }
    }
}
