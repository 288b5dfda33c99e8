import Dispatch
import Models
import Programs
import SAEEngine
import Synchronization
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

    @Test func `a text that was refused leaves nothing behind for one at its place`() {
        var workspace = engine.makeWorkspace()
        var batch = EmbeddingBatch(dimensions: engine.dimensions)
        var texts = TextBatch(["", "a cat sat on a mat"])
        engine.embed(texts, 0..<2, limits: TextLimits(maximumTextBytes: 8), using: &workspace, into: &batch)
        #expect(batch.outcomes.map(\.status) == [.noPieces, .tooManyBytes])
        // The same memory, and the same length.
        texts.removeAll()
        texts.append(utf8: "one day is no week".utf8)
        engine.embed(texts, 0..<1, using: &workspace, into: &batch)
        #expect(bits(batch) == bits(engine.embed(texts, threads: 1)))
    }

    @Test func `a vector has the same bits for every instruction set`() {
        let texts = lines(500, seed: 12)
        let expected = bits(Engine(model: model, instructionSet: .reference).embed(texts, threads: 1))
        for set in InstructionSet.available {
            #expect(bits(Engine(model: model, instructionSet: set).embed(texts, threads: 1)) == expected)
        }
    }

    @Test func `the machine and the fast path agree bit for bit on 100,000 texts`() throws {
        // Some lines have no pieces.
        let texts = lines(120_000, seed: 13)
        let temperatures = [Temperature.fitted, .infinite, .classification]
        let tables = model.tables
        let engine = engine
        let compared = Mutex(0)
        let different = Mutex<Int?>(nil)
        DispatchQueue.concurrentPerform(iterations: 8) { part in
            var workspace = engine.makeWorkspace()
            var batch = EmbeddingBatch(dimensions: engine.dimensions)
            var machine = Machine(tables: tables)
            for index in texts.count * part / 8..<texts.count * (part + 1) / 8 {
                let temperature = temperatures[index % 3]
                engine.embed(texts, index..<index + 1, temperature: temperature, using: &workspace, into: &batch)
                guard batch.outcomes[0].status == .ok else { continue }
                let final = engine.finalProgram(of: workspace, temperature: temperature)
                let program = final.instructions(tables)
                let vector = try? machine.run(program, fuel: program.count)
                if vector?.map(\.bitPattern) != batch.vectors.map(\.bitPattern) {
                    different.withLock { $0 = $0 ?? index }
                }
                compared.withLock { $0 += 1 }
            }
        }
        #expect(different.withLock { $0 } == nil)
        #expect(compared.withLock { $0 } >= 100_000)
    }

    @Test func `a printed program is the source of the same vector`() throws {
        let texts = lines(300, seed: 14)
        var workspace = engine.makeWorkspace()
        var batch = EmbeddingBatch(dimensions: engine.dimensions)
        var machine = Machine(tables: model.tables)
        var (compared, phraseCount) = (0, 0)
        for index in 0..<texts.count {
            engine.embed(texts, index..<index + 1, using: &workspace, into: &batch)
            guard batch.outcomes[0].status == .ok else { continue }
            let program = engine.finalProgram(of: workspace, temperature: .fitted).instructions(model.tables)
            phraseCount += program.count { $0.word == .phrase }
            let source = ForthSyntax.print(program)
            #expect(try machine.run(ForthSyntax.parse(source), fuel: program.count).map(\.bitPattern) == bits(batch))
            compared += 1
        }
        #expect(compared > 200 && phraseCount > 10)
    }

    @Test func `at infinite temperature the vector is the plain sum`() throws {
        let texts = TextBatch(["the cat watches the river", "home"])
        let batch = engine.embed(texts, temperature: .infinite, threads: 1)
        var machine = Machine(tables: model.tables)
        var workspace = engine.makeWorkspace()
        var alone = EmbeddingBatch(dimensions: engine.dimensions)
        for index in 0..<texts.count {
            engine.embed(texts, index..<index + 1, temperature: .infinite, using: &workspace, into: &alone)
            let bag = workspace.stream.operands.flatMap { [Instruction.lexeme($0), .add] } + [.normalize]
            #expect(try machine.run(bag, fuel: bag.count) == Array(batch.vector(index)))
            engine.embed(texts, index..<index + 1, using: &workspace, into: &alone)
            #expect(!alone.vectors.elementsEqual(batch.vector(index)), "context changes the vector")
        }
    }

    @Test func `the temperature stands between the model's own and infinity`() throws {
        #expect(Temperature(0.1) == nil && Temperature(17) == nil && Temperature(.nan) == nil)
        let texts = lines(100, seed: 15)
        let own = engine.embed(texts, threads: 1)
        let same = engine.embed(texts, temperature: try #require(Temperature(model.tables.temperature)), threads: 1)
        #expect(bits(same) == bits(own))
        #expect(bits(engine.embed(texts, temperature: .classification, threads: 1)) != bits(own))
    }

    @Test func `more sweeps are another arithmetic, in any batch, that the machine follows`() throws {
        let three = Engine(model: model, sweepCount: 3)
        #expect(three.generation != engine.generation && three.numerics != engine.numerics)
        let texts = lines(200, seed: 31)
        let together = three.embed(texts, threads: 1)
        #expect(bits(together) != bits(engine.embed(texts, threads: 1)))
        var workspace = three.makeWorkspace()
        var alone = EmbeddingBatch(dimensions: three.dimensions)
        var machine = Machine(tables: model.tables)
        for index in 0..<texts.count where together.outcomes[index].status == .ok {
            three.embed(texts, index..<index + 1, using: &workspace, into: &alone)
            #expect(alone.vectors.map(\.bitPattern) == together.vector(index).map(\.bitPattern))
            let program = three.finalProgram(of: workspace, temperature: .fitted).instructions(model.tables)
            #expect(try machine.run(program, fuel: program.count).map(\.bitPattern) == alone.vectors.map(\.bitPattern))
        }
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
