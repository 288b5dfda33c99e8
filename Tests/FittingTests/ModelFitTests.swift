import Bytes
import Evaluation
import Fitting
import Models
import Programs
import Rules
import SAEEngine
import TestSupport
import Testing
import Tokenization
import Vectors

/// Fits of a few thousand generated sentences to a made-up teacher, through the files that a user gives.
@Suite struct ModelFitTests {
    private let folder: TemporaryFolder
    private let inputs: ModelFit.Inputs
    private let options: FittingOptions

    init() throws {
        folder = try TemporaryFolder()
        let sentences = GeneratedText.sentences(1500, seed: 71)
        try folder.write(sentences.map { $0 + "\n" }.joined(), to: "texts")
        // The teacher: a sum of random word vectors, those of the first word twice, so that order matters.
        let rows = sentences.map { Self.teacher($0, width: 48) }
        try folder.writeArray(rows, to: "vectors.npy")
        var file = try AtomicFileWriter(folder.path("pieces.model"))
        try file.append(TinyModel.pieceModel)
        try file.commit()
        var inputs = ModelFit.Inputs(pairs: [TeacherPair(texts: folder.path("texts"), vectors: folder.path("vectors.npy"))])
        inputs.pieces = folder.path("pieces.model")
        self.inputs = inputs
        var options = FittingOptions()
        options.shape = ModelShape(
            dimensions: 32, contextRank: 16, neighbourRank: 16, couplingCount: 16, ruleCount: 32)
        (options.epochCount, options.batchCount, options.groupCount, options.heldOutShare) = (3, 44, 11, 500)
        (options.rate, options.similarityWeight) = (0.01, 1)
        self.options = options
    }

    private static func teacher(_ sentence: String, width: Int) -> [Float] {
        var sum = [Float](repeating: 0, count: width)
        for (place, word) in sentence.split(separator: " ").enumerated() {
            var key: UInt64 = 7
            for byte in word.lowercased().utf8 { key = key &* 31 &+ UInt64(byte) }
            var random = CounterRandom(key)
            for d in 0..<width { sum[d] += (random.unitFloat() - 0.5) * (place == 0 ? 2 : 1) }
        }
        return sum
    }

    private func fit(
        _ inputs: ModelFit.Inputs? = nil, _ options: FittingOptions? = nil, checkpoint: String? = nil,
        resumes: Bool = false, observe: @escaping (ModelFit.Event) -> Void = { _ in }
    ) throws -> ModelContents {
        try ModelFit(inputs ?? self.inputs, options: options ?? self.options, observe: observe)
            .run(name: "fit", checkpoint: checkpoint, resumes: resumes)
    }

    @Test func `a fit comes nearer to its teacher, epoch by epoch, and its model opens`() throws {
        var losses: [Double] = []
        let contents = try fit {
            if case .epoch(_, let loss, _) = $0 { losses.append(loss) }
        }
        #expect(losses.count == 3 && losses[2] < losses[0] * 0.8)
        let engine = Engine(model: try Model(contents))
        try engine.selfTest()
        #expect(engine.dimensions == 32)
        let keys = contents.provenance.map(\.key)
        #expect(keys.contains("vectors-1-sha256") && keys.contains("held-out-agreement"))
    }

    @Test func `one seed is one model, on any number of threads, and another seed is another`() throws {
        let first = try fit().serialized()
        var other = options
        other.threadCount = 1
        #expect(try fit(nil, other).serialized() == first)
        other.seed = 2
        #expect(try fit(nil, other).serialized() != first)
    }

    @Test func `a fit that goes on from its checkpoint ends where an undisturbed one does`() throws {
        let whole = try fit().serialized()
        let path = folder.path("state")
        // Stopped after the second epoch: what the process leaves behind is the checkpoint of the first two.
        final class Copy: @unchecked Sendable { var bytes: [UInt8] = [] }
        let copy = Copy()
        _ = try fit(checkpoint: path) { event in
            guard case .epoch(2, _, _) = event, let file = try? MappedFile(path) else { return }
            copy.bytes = withExtendedLifetime(file) { Array(file.bytes) }
        }
        #expect(!copy.bytes.isEmpty)
        var file = try AtomicFileWriter(path)
        try file.append(copy.bytes)
        try file.commit()
        var epochs: [Int] = []
        let resumed = try fit(checkpoint: path, resumes: true) {
            if case .epoch(let epoch, _, _) = $0 { epochs.append(epoch) }
        }
        #expect(epochs == [2])
        #expect(resumed.serialized() == whole)
    }

    @Test func `a checkpoint of other options, or a damaged one, is refused`() throws {
        let path = folder.path("state")
        _ = try fit(checkpoint: path)
        var other = options
        other.rate = 0.02
        let foreign = #expect(throws: FittingError.self) { try fit(nil, other, checkpoint: path, resumes: true) }
        guard case .checkpoint(_, let reason)? = foreign else { return }
        #expect(reason.contains("other material"))
        let bytes = try withExtendedLifetime(MappedFile(path)) { Array($0.bytes) }
        for damage in [Array(bytes.dropLast(5)), bytes.enumerated().map { $0 == 500 ? $1 ^ 1 : $1 }] {
            var file = try AtomicFileWriter(path)
            try file.append(damage)
            try file.commit()
            #expect(throws: FittingError.checkpoint(path: path, reason: "the checkpoint is damaged or cut off")) {
                try fit(checkpoint: path, resumes: true)
            }
        }
    }

    @Test func `phrases of discrete rules are fitted like pieces`() throws {
        let ids = try Array("river".utf8).withUnsafeBufferPointer {
            try PieceModel(serialized: TinyModel.pieceModel).encodeByLibrary($0)
        }
        let pattern = ids.prefix(2).map { "%\($0)" }.joined(separator: " ")
        try folder.write("phrases 1\n\(pattern) => replace $0 worth 1\n", to: "rules")
        var inputs = inputs
        inputs.phrases = folder.path("rules")
        let pieceCount = TinyModel.contents.pieceCount
        try folder.writeArray([[Float]](repeating: [Float](repeating: 1, count: 48), count: pieceCount), to: "start.npy")
        inputs.start = folder.path("start.npy")
        let contents = try fit(inputs)
        #expect(contents.records.count == contents.pieceCount + 1 && contents.phrases.rules.count == 1)
        let engine = Engine(model: try Model(contents))
        var workspace = engine.makeWorkspace()
        var batch = EmbeddingBatch(dimensions: engine.dimensions)
        engine.embed(TextBatch(["river"]), using: &workspace, into: &batch)
        #expect(workspace.stream.operands == [UInt32(contents.pieceCount)] + ids.dropFirst(2))
        try folder.write("phrases 1\n\(pattern) => fly $0\n", to: "rules")
        let error = #expect(throws: FittingError.self) { try fit(inputs) }
        #expect(error?.summary.contains("line 2") == true)
    }

    @Test func `texts that stand in an evaluation set are neither fitted nor held out, and the model says so`() throws {
        let lines = try TextLines(contentsOf: folder.path("texts"))
        let heldOut = try #require((0..<lines.count).first { options.holdsOut($0, of: lines) })
        let fitted = try #require((0..<lines.count).first { !options.holdsOut($0, of: lines) })
        let chosen = [heldOut, fitted].map { String(decoding: lines[$0], as: UTF8.self) }
        let same = (0..<lines.count).filter { chosen.contains(String(decoding: lines[$0], as: UTF8.self)) }.count
        // Other case and punctuation, in a column of its own.
        try folder.write("4.5\t\(chosen[0].uppercased())!\n\(chosen[1].replacing(" ", with: " , "))\nnowhere else\n", to: "evaluation")
        var without = options
        without.excluded = try ExcludedTexts(contentsOf: [folder.path("evaluation")])
        func numbers(_ contents: ModelContents) -> [Int?] {
            ["texts-fitted", "texts-held-out", "texts-left-out"].map { key in
                contents.provenance.first { $0.key == key }.flatMap { Int($0.value) }
            }
        }
        let (before, after) = (numbers(try fit()), numbers(try fit(nil, without)))
        #expect(before[2] == nil && after[2] == same)
        let sums = (try #require(before[0]) + #require(before[1]), try #require(after[0]) + #require(after[1]))
        #expect(sums.1 == sums.0 - same && after[0]! < before[0]! && after[1]! < before[1]!)
    }

    @Test func `material that does not fit together is refused with the file and the row`() throws {
        func refusal(_ change: (inout ModelFit.Inputs) throws -> Void) throws -> FittingError? {
            var inputs = inputs
            try change(&inputs)
            return #expect(throws: FittingError.self) { try fit(inputs) }
        }
        let vectors = folder.path("other.npy")
        try folder.writeArray([[Float]](repeating: [Float](repeating: 1, count: 48), count: 1501), to: "other.npy")
        #expect(
            try refusal { $0.pairs[0].vectors = vectors }
                == .tooFewTexts(texts: folder.path("texts"), lines: 1500, vectors: vectors, rows: 1501))
        var rows = [[Float]](repeating: [Float](repeating: 1, count: 48), count: 1500)
        rows[1234] = [Float](repeating: 0, count: 48)
        try folder.writeArray(rows, to: "other.npy")
        #expect(try refusal { $0.pairs[0].vectors = vectors } == .zeroVector(path: vectors, row: 1234))
        rows[1234] = [Float](repeating: .nan, count: 48)
        try folder.writeArray(rows, to: "other.npy")
        #expect(try refusal { $0.pairs[0].vectors = vectors } == .zeroVector(path: vectors, row: 1234))
        try folder.writeArray(rows.map { Array($0.prefix(16)) }, to: "other.npy")
        guard case .width? = try refusal({ $0.pairs[0].vectors = vectors }) else {
            Issue.record("vectors narrower than the model were not refused")
            return
        }
        guard case .start? = try refusal({ $0.start = folder.path("vectors.npy") }) else {
            Issue.record("start rows of another vocabulary were not refused")
            return
        }
    }
}

extension TemporaryFolder {
    fileprivate func write(_ text: String, to name: String) throws {
        var file = try AtomicFileWriter(path(name))
        try file.append(Array(text.utf8))
        try file.commit()
    }

    fileprivate func writeArray(_ rows: [[Float]], to name: String) throws {
        var file = try NumpyWriter(path(name), rowCount: rows.count, columnCount: rows[0].count)
        for row in rows { try file.append(row) }
        try file.finish()
    }
}
