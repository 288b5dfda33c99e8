import Models
import Programs
import SAEEngine
import TestSupport
import Testing
import Vectors

@Suite struct EngineTests {
    private let model: Model
    private let engine: Engine

    init() throws {
        model = try TinyModel.open()
        engine = Engine(model: model)
    }

    private func lines(_ count: Int, seed: UInt64) -> TextBatch {
        var random = SeededRandom(seed: seed)
        var texts = TextBatch()
        for _ in 0..<count { texts.append(utf8: GeneratedText.line(using: &random)) }
        return texts
    }

    private func bits(_ batch: EmbeddingBatch) -> [UInt32] { batch.vectors.map(\.bitPattern) }

    @Test func `a vector has the same bits alone, in any batch and on any thread`() {
        let texts = lines(2000, seed: 11)
        let together = engine.embed(texts, threads: 1)
        #expect(bits(engine.embed(texts, threads: 3)) == bits(together))
        var workspace = engine.makeWorkspace()
        var alone = EmbeddingBatch(dimensions: engine.dimensions)
        for index in stride(from: 0, to: texts.count, by: 7).reversed() {
            engine.embed(texts, index..<index + 1, using: &workspace, into: &alone)
            #expect(alone.vectors.map(\.bitPattern) == together.vector(index).map(\.bitPattern))
            #expect(alone.outcomes[0] == together.outcomes[index])
        }
    }

    @Test func `a vector has the same bits for every instruction set`() {
        let texts = lines(500, seed: 12)
        let expected = bits(Engine(model: model, instructionSet: .reference).embed(texts, threads: 1))
        for set in InstructionSet.available {
            #expect(bits(Engine(model: model, instructionSet: set).embed(texts, threads: 1)) == expected)
        }
    }

    @Test func `the machine and the fast path agree bit for bit on 100,000 texts`() throws {
        let texts = lines(100_000, seed: 13)
        var workspace = engine.makeWorkspace()
        var batch = EmbeddingBatch(dimensions: engine.dimensions)
        var machine = Machine(lexemes: model.lexemes)
        var compared = 0
        for index in 0..<texts.count {
            engine.embed(texts, index..<index + 1, using: &workspace, into: &batch)
            // The machine goes word by word and copies; a fifth of the texts, chosen by content, keeps this short.
            guard batch.outcomes[0].status == .ok, index % 5 == texts.range(of: index).count % 5 else { continue }
            let program = try ForthSyntax.parse(ForthSyntax.print(workspace.stream.instructions))
            let vector = try machine.run(program, fuel: program.count)
            if vector.map(\.bitPattern) != batch.vectors.map(\.bitPattern) {
                Issue.record("text \(index) differs")
                return
            }
            compared += 1
        }
        #expect(compared > 15_000)
    }

    @Test func `vectors have length one, and rows in error are zero bits`() {
        let batch = engine.embed(TextBatch(["the cat", "", " \t\n"]), threads: 1)
        #expect(batch.outcomes.map(\.status) == [.ok, .noPieces, .noPieces])
        #expect(abs(dot(Array(batch.vector(0)), Array(batch.vector(0))) - 1) < 1e-5)
        #expect(batch.vectors[256...].allSatisfy { $0.bitPattern == 0 })
    }

    @Test func `a text over a limit is an error, or is cut when asked`() {
        let word = String(repeating: "ab ", count: 100)
        let texts = TextBatch([word, "é" + String(repeating: "é", count: 99)])
        var limits = TextLimits(maximumTextBytes: 150)
        #expect(engine.embed(texts, limits: limits).allStatuses == [.tooManyBytes, .tooManyBytes])
        limits.truncates = true
        let cut = engine.embed(texts, limits: limits)
        #expect(cut.allStatuses == [.ok, .ok] && cut.outcomes.allSatisfy { $0.isTruncated })
        let head = engine.embed(TextBatch([String(word.prefix(150))]), threads: 1)
        #expect(cut.vector(0).elementsEqual(head.vector(0)))
        limits = TextLimits(maximumPieces: 20)
        #expect(engine.embed(TextBatch([word]), limits: limits).allStatuses == [.tooManyPieces])
        limits.truncates = true
        let few = engine.embed(TextBatch([word]), limits: limits)
        #expect(few.outcomes[0] == RowOutcome(status: .ok, pieceCount: 20, isTruncated: true))
    }

    @Test func `the model's own test passes, and fails with another vector`() throws {
        try engine.selfTest()
        var contents = TinyModel.contents
        contents.selfTest.vector[0] += 0.5
        let folder = try TemporaryFolder()
        try contents.write(to: folder.path("w.sae"))
        let wrong = try Engine(contentsOf: folder.path("w.sae"))
        let error = #expect(throws: EngineError.self) { try wrong.selfTest() }
        #expect(error?.code == .selfTestFailed)
    }
}

extension Engine {
    fileprivate func embed(_ texts: TextBatch, limits: TextLimits) -> EmbeddingBatch {
        embed(texts, limits: limits, threads: 1)
    }
}

extension EmbeddingBatch {
    fileprivate var allStatuses: [RowStatus] { outcomes.map(\.status) }
}
