import Bytes
import Fitting
import Models
import Programs
import Rules
import SAEEngine
import TestSupport
import Testing
import Tokenization
import Vectors

/// Fits that go on from a model: its own vectors, with something of one word added, are the teacher.
@Suite struct WarmStartTests {
    private let folder: TemporaryFolder
    private let sentences = GeneratedText.sentences(1_200, seed: 5)
    private let parent: Model
    private let inputs: ModelFit.Inputs
    private let options: FittingOptions

    init() throws {
        folder = try TemporaryFolder()
        var contents = try TinyModel.contentsWithPlainRules()
        contents.provenance = [("basis-sha256", "none")]
        parent = try Model(contents)
        var file = try AtomicFileWriter(folder.path("texts"))
        for sentence in sentences { try file.append(Array((sentence + "\n").utf8)) }
        try file.commit()
        var rows = Engine(model: parent).embed(TextBatch(sentences), threads: 2).vectors
        for (row, sentence) in sentences.enumerated() where sentence.contains("river") {
            for d in 0..<256 { rows[row * 256 + d] += d % 2 == 0 ? 0.05 : -0.05 }
        }
        try Self.write(rows, columns: 256, to: folder.path("vectors.npy"))
        var inputs = ModelFit.Inputs(pairs: [TeacherPair(texts: folder.path("texts"), vectors: folder.path("vectors.npy"))])
        inputs.parent = parent
        self.inputs = inputs
        var options = FittingOptions()
        (options.epochCount, options.batchCount, options.groupCount, options.heldOutShare) = (2, 44, 11, 1_000)
        (options.rate, options.similarityWeight, options.temperature) = (0.002, 1, 1.25)
        self.options = options
    }

    private static func write(_ values: [Float], columns: Int, to path: String) throws {
        var file = try NumpyWriter(path, rowCount: values.count / columns, columnCount: columns)
        try file.append(values)
        try file.finish()
    }

    private func fit(
        _ change: (inout ModelFit.Inputs, inout FittingOptions) -> Void = { _, _ in },
        observe: @escaping (ModelFit.Event) -> Void = { _ in }
    ) throws -> ModelContents {
        var (inputs, options) = (inputs, options)
        change(&inputs, &options)
        return try ModelFit(inputs, options: options, observe: observe).run(name: "child", checkpoint: nil, resumes: false)
    }

    @Test func `the numbers of a model are those of its file, rounded or not`() throws {
        let start = ModelParameters(parent.tables)
        let rounded = start.rounded()
        #expect(start.records.count == rounded.records.count && start.dense.count == rounded.dense.count)
        for (a, b) in zip(start.numbers, rounded.numbers) { #expect(abs(a - b) <= 1e-6 * max(1, abs(a))) }
        let bias = parent.tables.shape.recordElementCount
        for id in [0, 300, parent.tables.records.count - 1] {
            let first = id * parent.tables.shape.recordWidth
            let (scale, elements) = parent.tables.records.meaning(id)
            #expect(Array(start.records[first..<first + 256]) == elements.map { $0 * scale })
            #expect(start.records[first + bias] == parent.tables.records.bias(id))
        }
    }

    @Test func `a fit goes on where its parent is, keeps its pieces and rules, and names it`() throws {
        var before = 0.0
        var after = 0.0
        let contents = try fit(observe: { event in
            switch event {
            case .parent(let scores): before = scores.natural.cosine
            case .chosen(exact: _, let rounded): after = rounded.natural.cosine
            default: break
            }
        })
        // What the fit computes is what the engine made the teacher with, but for what was added.
        #expect(before > 0.9 && after > before + 0.002, "\(before), \(after)")
        #expect(contents.pieceModel == TinyModel.pieceModel && contents.phrases == parent.phrases)
        #expect(contents.records.shape == TinyModel.shape && contents.temperature == 1.25)
        let origin = Dictionary(uniqueKeysWithValues: contents.provenance.map { ($0.key, $0.value) })
        #expect(origin["from"] == hexadecimal(parent.digest) && origin["from-name"] == "tiny" && origin["start"] == nil)
        let model = try Model(contents)
        try Engine(model: model).selfTest()
        // Pieces of which no text has any keep their numbers.
        let counts = try pieceCounts()
        let idle = try #require(counts.indices.first { counts[$0] == 0 })
        #expect(model.tables.records.meaning(idle).elements == parent.tables.records.meaning(idle).elements)
    }

    private func pieceCounts() throws -> [Int] {
        var counts = [Int](repeating: 0, count: parent.tables.vocabularyCount)
        for sentence in sentences {
            for id in Array(sentence.utf8).withUnsafeBufferPointer({ parent.pieces.encodeByLibrary($0) }) { counts[Int(id)] += 1 }
        }
        return counts
    }

    @Test func `a fit that finds nothing better gives its parent's numbers back`() throws {
        // A rate at which every step leaves for somewhere else.
        let contents = try fit { $1.rate = 0.9; $1.denseRate = 0.9; $1.epochCount = 1 }
        let model = try Model(contents)
        for id in 0..<parent.tables.records.count {
            #expect(model.tables.records.meaning(id).elements == parent.tables.records.meaning(id).elements)
        }
    }

    @Test func `one seed is one model, and another parent is other material for a checkpoint`() throws {
        let first = try fit().serialized()
        #expect(try fit { $1.threadCount = 1 }.serialized() == first)
        let path = folder.path("state")
        _ = try ModelFit(inputs, options: options) { _ in }.run(name: "child", checkpoint: path, resumes: false)
        var other = inputs
        other.parent = try Model(fit())
        let error = #expect(throws: FittingError.self) {
            try ModelFit(other, options: options) { _ in }.run(name: "child", checkpoint: path, resumes: true)
        }
        #expect(error?.summary.contains("other material") == true)
    }

    @Test func `vectors that are not in the parent's space are refused`() throws {
        func refusal(_ change: (inout ModelFit.Inputs) throws -> Void) throws -> FittingError? {
            var inputs = inputs
            try change(&inputs)
            return #expect(throws: FittingError.self) { try ModelFit(inputs, options: options) { _ in }
                .run(name: "child", checkpoint: nil, resumes: false) }
        }
        let wide = folder.path("wide.npy")
        var random = CounterRandom(3)
        try Self.write((0..<1_200 * 384).map { _ in random.unitFloat() - 0.5 }, columns: 384, to: wide)
        #expect(try refusal { $0.pairs[0].vectors = wide } == .noBasis(vectors: wide, columns: 384, dimensions: 256))
        let basis = folder.path("basis.npy")
        try Self.write((0..<384 * 256).map { $0 / 256 == $0 % 256 ? 1 : 0 }, columns: 256, to: basis)
        #expect(try refusal { $0.pairs[0].vectors = wide; $0.basis = basis } == .otherBasis(path: basis))
        let foreign = folder.path("foreign.npy")
        try Self.write((0..<1_200 * 256).map { _ in random.unitFloat() - 0.5 }, columns: 256, to: foreign)
        guard case .otherSpace(let cosine)? = try refusal({ $0.pairs[0].vectors = foreign }) else {
            Issue.record("vectors of another space were not refused")
            return
        }
        #expect(abs(cosine) < 0.1)
        guard case .options(let reason)? = try refusal({ $0.parent = try TinyModel.open() }) else {
            Issue.record("rules that look at the context were not refused")
            return
        }
        #expect(reason.contains("context"))
    }
}
