import Annealing
import Glibc
import Models
import Programs
import SAEEngine
import TestSupport
import Testing
import Vectors

@Suite struct TraceTests {
    private let model: Model
    private let engine: Engine

    init() throws {
        model = try TinyModel.open()
        engine = Engine(model: model)
    }

    private static let temperatures = [Temperature.fitted, .infinite, .classification]

    /// Traces of random lines that have a vector, each temperature in turn.
    private func traces(_ count: Int, seed: UInt64) throws -> [Trace] {
        var random = SeededRandom(seed: seed)
        return try (0..<count).compactMap { index in
            do throws(TraceError) {
                return try engine.trace(
                    GeneratedText.line(using: &random), temperature: Self.temperatures[index % 3], isExact: true)
            } catch {
                guard [.noPieces, .noDirection].contains(error.status) else { throw error }
                return nil
            }
        }
    }

    @Test func `the printed source gives the vector bit for bit, and it is the engine's`() throws {
        var machine = Machine(tables: model.tables)
        let traces = try traces(300, seed: 31)
        #expect(traces.count > 200)
        for trace in traces {
            let program = try ForthSyntax.parse(trace.source)
            let vector = try machine.run(program, fuel: program.count)
            #expect(vector.map(\.bitPattern) == trace.vector.map(\.bitPattern))
        }
        let text = "The cat watches the river"
        let trace = try engine.trace(Array(text.utf8))
        #expect(trace.vector == Array(engine.embed(TextBatch([text]), threads: 1).vector(0)))
    }

    @Test func `all shares add up to one, and the parts to the vector`() throws {
        for trace in try traces(120, seed: 32) {
            let shares = trace.items.map(\.share) + trace.couplings.map(\.share) + trace.rules.map(\.share)
            #expect(abs(shares.reduce(0, +) - 1) < 2e-4)
            let families = trace.parts.families
            for d in trace.vector.indices {
                let sum = families.items[d] + families.couplings[d] + families.rules[d]
                #expect(abs(sum - trace.vector[d]) < 2e-4)
            }
        }
    }

    @Test func `the parts of a log-weight give the weight`() throws {
        for trace in try traces(120, seed: 33) {
            guard let degrees = trace.degrees else {
                #expect(trace.items.allSatisfy { $0.weight == 1 && $0.logWeight.sum == 0 })
                continue
            }
            for item in trace.items {
                let weight = exp(min(max(item.logWeight.sum / degrees, -4), 4))
                #expect(abs(weight - item.weight) <= 1e-3 * weight)
            }
        }
    }

    @Test func `the last step is the vector, and the first its plain sum`() throws {
        for trace in try traces(60, seed: 34) {
            #expect(abs((trace.steps.last?.cosine ?? 0) - 1) < 1e-4)
            let ids = trace.items.map(\.record)
            let bag = ids.flatMap { id -> [Instruction] in
                let phrase = Int(id) - model.tables.vocabularyCount
                return [phrase < 0 ? .lexeme(id) : .phrase(UInt32(phrase)), .add]
            }
            var machine = Machine(tables: model.tables)
            #expect(try machine.run(bag + [.normalize], fuel: .max) == trace.steps[0].vector)
        }
    }

    @Test func `the edits that stand are those of the program, and never beat the exact energy`() throws {
        var (edited, compared) = (0, 0)
        for trace in try traces(300, seed: 35) {
            guard let annealing = trace.annealing, let exact = annealing.exact else {
                #expect(trace.degrees == nil)
                continue
            }
            #expect(annealing.edits.count == trace.items.filter(\.isPhrase).count)
            #expect(annealing.sweeps.flatMap(\.bids).filter { $0.fate == .committed }.count >= annealing.edits.count)
            if exact.saturation.isComplete {
                #expect(annealing.energy >= exact.saturation.energy.value)
                compared += 1
            }
            edited += annealing.edits.isEmpty ? 0 : 1
        }
        #expect(edited > 20 && compared > 20)
    }

    @Test func `a comparison splits the cosine in three ways that add up`() throws {
        let traces = try traces(80, seed: 36)
        for (first, second) in zip(traces, traces.dropFirst()) {
            let comparison = TraceComparison(first, second)
            #expect(abs(comparison.similarity - cosine(first.vector, second.vector)) < 1e-5)
            for products in [comparison.firstProducts, comparison.secondProducts] {
                let sum = (products.items + products.couplings + products.rules).reduce(0, +)
                #expect(abs(sum - comparison.similarity) < 3e-4)
            }
            #expect(abs(comparison.families.joined().reduce(0, +) - comparison.similarity) < 3e-4)
            let largest = first.parts.items.flatMap { a in second.parts.items.map { abs(dot(a, $0)) } }.max() ?? 0
            #expect(abs(comparison.pairs[0].product) == largest)
        }
    }

    @Test func `a text compared with itself is one, and its items' products are their shares`() throws {
        let trace = try engine.trace(Array("the cat watches the river".utf8))
        let comparison = TraceComparison(trace, trace)
        #expect(abs(comparison.similarity - 1) < 1e-5)
        #expect(comparison.firstProducts.items == trace.items.map(\.share))
    }

    @Test func `a text without a vector says why`() {
        let error = #expect(throws: TraceError.self) { try engine.trace(Array(" \n".utf8)) }
        #expect(error?.status == .noPieces && error?.summary == "the text is empty")
        let limits = TextLimits(maximumTextBytes: 8)
        let long = #expect(throws: TraceError.self) { try engine.trace(Array("nine bytes".utf8), limits: limits) }
        #expect(long?.summary == "the text is longer than 8 bytes")
    }
}
