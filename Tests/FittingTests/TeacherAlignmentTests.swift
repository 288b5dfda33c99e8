import Bytes
import Fitting
import SAEEngine
import TestSupport
import Testing
import Vectors

@Suite struct TeacherAlignmentTests {
    private let folder: TemporaryFolder
    private let engine: Engine
    private let sentences = GeneratedText.sentences(600, seed: 21)
    private var options = FittingOptions()

    init() throws {
        folder = try TemporaryFolder()
        engine = Engine(model: try TinyModel.open())
        var file = try AtomicFileWriter(folder.path("texts"))
        for sentence in sentences { try file.append(Array((sentence + "\n").utf8)) }
        try file.commit()
        options.testShare = 1_000
    }

    private func write(_ values: [Float], columns: Int) throws -> TeacherPair {
        var file = try NumpyWriter(folder.path("v.npy"), rowCount: values.count / columns, columnCount: columns)
        try file.append(values)
        try file.finish()
        return TeacherPair(texts: folder.path("texts"), vectors: folder.path("v.npy"))
    }

    @Test func `a teacher that says the same with its axes turned is turned back`() throws {
        let vectors = engine.embed(TextBatch(sentences), threads: 2).vectors
        // Dimension d goes to d + 40, every other one mirrored; the teacher has 60 more, which say little.
        var random = CounterRandom(4)
        var rows: [Float] = []
        for row in 0..<sentences.count {
            var values = (0..<316).map { _ in (random.unitFloat() - 0.5) * 0.001 }
            for d in 0..<256 { values[d + 40] += vectors[row * 256 + d] * (d % 2 == 0 ? 3 : -3) }
            rows += values
        }
        let pair = try write(rows, columns: 316)
        let alignment = try TeacherAlignment([pair], to: engine, options: options)
        #expect(alignment.cosine > 0.99, "\(alignment.cosine)")
        let basis = alignment.basis
        let product = basis.transposed().multiplied(by: basis)
        for i in 0..<256 {
            for j in 0..<256 { #expect(abs(product[i, j] - (i == j ? 1 : 0)) < 1e-3) }
        }
        // Texts kept for the end, which it did not look at, agree as well.
        try alignment.write(to: folder.path("basis.npy"))
        let tests = try TestTexts(pair, basis: folder.path("basis.npy"), dimensions: 256, options: options)
        #expect((30...100).contains(tests.count))
        let score = tests.score(engine, threads: 1)
        #expect(score.cosine.mean > 0.98, "\(score.cosine)")
        #expect(score.gain(over: score).mean == 0)
    }

    @Test func `vectors no wider than the model are refused, and too few texts`() throws {
        let narrow = try write([Float](repeating: 1, count: 600 * 256), columns: 256)
        guard case .width? = #expect(throws: FittingError.self, performing: {
            try TeacherAlignment([narrow], to: engine, options: options)
        }) else { return }
        // Fewer texts than the model has dimensions do not settle a turn.
        var random = CounterRandom(5)
        let few = try write((0..<200 * 300).map { _ in random.unitFloat() }, columns: 300)
        guard case .nothingToFit(let count, heldOut: 0)? = #expect(throws: FittingError.self, performing: {
            try TeacherAlignment([few], to: engine, options: options)
        }) else { return }
        #expect((150..<200).contains(count))
    }

    @Test func `what is kept for the end is neither fitted nor held out, and equal lines stay together`() throws {
        let lines = try TextLines(contentsOf: folder.path("texts"))
        var seen: [[UInt8]: Bool] = [:]
        for line in 0..<lines.count {
            let isKept = options.keepsForTheEnd(line, of: lines)
            #expect(!(isKept && options.holdsOut(line, of: lines)))
            #expect(seen[Array(lines[line])] ?? isKept == isKept)
            seen[Array(lines[line])] = isKept
        }
        let material = try MiningMaterial(
            [try write(engine.embed(TextBatch(sentences), threads: 1).vectors, columns: 256)], engine: engine, options: options)
        let used = Set(material.texts.fitted + material.texts.heldOut)
        for line in 0..<lines.count { #expect(used.contains(UInt32(line)) != options.keepsForTheEnd(line, of: lines)) }
    }
}
