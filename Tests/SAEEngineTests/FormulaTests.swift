import Glibc
import Models
import Programs
import SAEEngine
import Scoring
import TestSupport
import Testing
import Vectors

/// The formulas of algorithm.md, sections 3 to 5, in double precision, from the tables of a model.
private struct Formulas {
    let tables: ModelTables

    private func row(_ part: (scale: Float, elements: [Float])) -> [Double] {
        part.elements.map { Double(part.scale) * Double($0) }
    }

    private func row(_ table: RowTable, _ id: Int) -> [Double] { row((table.scale(id), table.elements(id))) }

    private func product(_ a: [Double], _ b: [Double]) -> Double { zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } }

    private func unit(_ x: [Double]) -> [Double] {
        let length = product(x, x).squareRoot()
        return x.map { $0 / length }
    }

    private func sum(_ rows: [[Double]], _ weights: [Double]) -> [Double] {
        var x = [Double](repeating: 0, count: tables.shape.dimensions)
        for (row, weight) in zip(rows, weights) { for d in x.indices { x[d] += weight * row[d] } }
        return x
    }

    /// The weights of items, by the energies of section 3, and how many of these lie between the clamps.
    func weights(_ ids: [Int], temperature: Double) -> (weights: [Double], freeCount: Int) {
        let records = tables.records
        let bag = unit(sum(ids.map { row(records.meaning($0)) }, ids.map { _ in 1 }))
        let context = (0..<tables.projection.count).map { product(row(tables.projection, $0), bag) }
        let exponents = ids.indices.map { i in
            var energy = Double(records.bias(ids[i])) + product(row(records.contextAnswer(ids[i])), context)
            for (o, offset) in [-2, -1, 1, 2].enumerated() where ids.indices.contains(i + offset) {
                let (m, k) = (row(records.neighbourAnswer(ids[i])), row(records.neighbourInfluence(ids[i + offset])))
                for j in m.indices { energy += Double(tables.neighbours[o * m.count + j]) * m[j] * k[j] }
            }
            return energy / temperature
        }
        return (exponents.map { exp(min(4, max(-4, $0))) }, exponents.count { abs($0) < 4 })
    }

    /// The features of section 4.
    func couplings(_ ids: [Int]) -> [Double] {
        var z = [Double](repeating: 0, count: tables.shape.couplingCount)
        for i in ids.indices {
            for o in 1...2 where i + o < ids.count {
                let (l, h) = (row(tables.records.left(ids[i])), row(tables.records.right(ids[i + o])))
                for j in z.indices { z[j] += Double(tables.couplings[(o - 1) * z.count + j]) * l[j] * h[j] }
            }
        }
        return z.map { $0 / Double(ids.count).squareRoot() }
    }

    /// The vector of section 5, and how many rules fired.
    func vector(_ ids: [Int], weights: [Double]) -> (vector: [Double], firedCount: Int) {
        let x = unit(sum(ids.map { row(tables.records.meaning($0)) }, weights))
        let z = couplings(ids)
        var (y, firedCount) = (x, 0)
        for j in z.indices {
            let column = row(tables.lifts, j)
            for d in y.indices { y[d] += z[j] * column[d] }
        }
        for rule in 0..<tables.shape.ruleCount {
            let bid = product(row(tables.rules, rule), x + z) - Double(tables.thresholds[rule])
            guard bid > 0 else { continue }
            firedCount += 1
            let value = row(tables.lifts, z.count + rule)
            for d in y.indices { y[d] += bid * value[d] }
        }
        return (unit(y), firedCount)
    }
}

@Suite struct FormulaTests {
    @Test func `a vector is that of the formulas in double precision`() throws {
        let model = try TinyModel.open()
        let engine = Engine(
            model: model,
            scorer: ScorerSettings(choice: .reference, cacheDirectory: KernelCacheDirectory(path: "")))
        let formulas = Formulas(tables: model.tables)
        var texts = TextBatch(["home", "the cat", "the cat watches the river and the letter"])
        var random = SeededRandom(seed: 31)
        for _ in 0..<60 { texts.append(utf8: GeneratedText.line(using: &random)) }
        var workspace = engine.makeWorkspace()
        var batch = EmbeddingBatch(dimensions: engine.dimensions)
        var (compared, free, fired, phrases) = (0, 0, 0, 0)
        for index in 0..<texts.count {
            engine.embed(texts, index..<index + 1, using: &workspace, into: &batch)
            guard batch.outcomes[0].status == .ok else { continue }
            // The program after annealing: its items may be phrases.
            let ids = workspace.stream.operands.map(Int.init)
            phrases += ids.count { $0 >= model.tables.vocabularyCount }
            let (weights, freeCount) = formulas.weights(ids, temperature: Double(model.tables.temperature))
            let expected = formulas.vector(ids, weights: weights)
            let difference = zip(batch.vector(0), expected.vector).reduce(0) { max($0, abs(Double($1.0) - $1.1)) }
            // What is left is the rounding of coefficients and contexts to 8 bits.
            #expect(difference < 4e-3, "text \(index), \(ids.count) items")
            #expect(cosine(batch.vector(0), expected.vector.map { Float($0) }) > 0.9998)
            compared += 1
            free += freeCount
            fired += expected.firedCount
        }
        #expect(compared > 40 && free > 100 && fired > 100 && phrases > 5)
    }
}
