import Fitting
import Glibc
import Programs
import TestSupport
import Testing
import Vectors

/// A small model of every family, a few texts, and the loss computed by double-precision formulas from the parameters.
@Suite struct GradientTests {
    private static let shape = ModelShape(
        dimensions: 16, contextRank: 16, neighbourRank: 16, couplingCount: 16, ruleCount: 32)
    private static let lines: [[UInt32]] = [[0, 1, 2], [2, 3], [1, 4, 0, 2, 5], [3, 4, 1]]
    private static let temperature: Float = 1.3
    private let texts: TrainingTexts
    private let start: ModelParameters
    private let options: FittingOptions

    init() {
        var random = SeededRandom(seed: 41)
        func numbers(_ count: Int, _ range: ClosedRange<Float>) -> [Float] {
            (0..<count).map { _ in Float.random(in: range, using: &random) }
        }
        var texts = TrainingTexts(dimensions: 16)
        texts.append(pieces: Self.lines, targets: numbers(4 * 16, -1...1)) { _ in .fit }
        self.texts = texts
        var start = ModelParameters(shape: Self.shape, meanings: numbers(6 * 16, -1...1), seed: 5)
        for at in start.records.indices { start.records[at] += Float.random(in: -0.2...0.2, using: &random) }
        for at in start.dense.indices { start.dense[at] += Float.random(in: -0.2...0.2, using: &random) }
        self.start = start
        var options = FittingOptions()
        options.shape = Self.shape
        (options.groupCount, options.batchCount, options.similarityWeight) = (4, 4, 3)
        (options.lowestTemperature, options.highestTemperature) = (Self.temperature, Self.temperature)
        self.options = options
    }

    /// The vector of a text before its length is made 1, by the formulas of sections 3 to 5.
    private func output(_ ids: [UInt32], _ parameters: ModelParameters) -> [Double] {
        let (shape, layout) = (parameters.shape, DenseLayout(parameters.shape))
        func record(_ id: UInt32, _ first: Int, _ count: Int) -> [Double] {
            parameters.records[Int(id) * shape.recordWidth + first..<Int(id) * shape.recordWidth + first + count].map(Double.init)
        }
        func dense(_ range: Range<Int>) -> [Double] { parameters.dense[range].map(Double.init) }
        func unit(_ x: [Double]) -> [Double] {
            let length = x.reduce(0) { $0 + $1 * $1 }.squareRoot()
            return x.map { $0 / length }
        }
        func product(_ a: some Sequence<Double>, _ b: some Sequence<Double>) -> Double {
            zip(a, b).reduce(0) { $0 + $1.0 * $1.1 }
        }
        let meanings = ids.map { record($0, 0, 16) }
        let bag = unit((0..<16).map { d in meanings.reduce(0) { $0 + $1[d] } })
        let (p, d, e) = (dense(layout.projection), dense(layout.neighbours), dense(layout.couplings))
        let u = (0..<16).map { product(p[$0 * 16..<($0 + 1) * 16], bag) }
        let weights = ids.indices.map { i in
            var energy = record(ids[i], 96, 1)[0] + product(record(ids[i], 16, 16), u)
            for (o, offset) in [-2, -1, 1, 2].enumerated() where ids.indices.contains(i + offset) {
                let (m, k) = (record(ids[i], 32, 16), record(ids[i + offset], 48, 16))
                for j in 0..<16 { energy += d[o * 16 + j] * m[j] * k[j] }
            }
            return exp(min(4, max(-4, energy / Double(Self.temperature))))
        }
        let x = unit((0..<16).map { d in ids.indices.reduce(0) { $0 + weights[$1] * meanings[$1][d] } })
        var z = [Double](repeating: 0, count: 16)
        for i in ids.indices {
            for o in 1...2 where i + o < ids.count {
                let (l, h) = (record(ids[i], 64, 16), record(ids[i + o], 80, 16))
                for j in 0..<16 { z[j] += e[(o - 1) * 16 + j] * l[j] * h[j] / Double(ids.count).squareRoot() }
            }
        }
        let (rules, thresholds) = (dense(layout.rules), dense(layout.thresholds))
        let (vectors, lift) = (dense(layout.ruleVectors), dense(layout.lift))
        var y = x
        for rule in 0..<32 {
            let bid = product(rules[rule * 32..<(rule + 1) * 32], x + z) - thresholds[rule]
            guard bid > 0 else { continue }
            for d in 0..<16 { y[d] += bid * vectors[rule * 16 + d] }
        }
        for j in 0..<16 { for d in 0..<16 { y[d] += z[j] * lift[j * 16 + d] } }
        return unit(y)
    }

    private func loss(_ parameters: ModelParameters) -> Double {
        let units = Self.lines.map { output($0, parameters) }
        let targets = (0..<4).map { texts.target($0).map(Double.init) }
        func product(_ a: [Double], _ b: [Double]) -> Double { zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } }
        var sum = 0.0
        for i in 0..<4 {
            sum += 1 - product(units[i], targets[i])
            for j in 0..<i {
                let difference = product(units[i], units[j]) - product(targets[i], targets[j])
                sum += 3.0 / 3 * difference * difference
            }
        }
        return sum
    }

    @Test func `the forward pass is that of the formulas`() {
        let vectors = start.vectors(of: [0, 1, 2, 3], in: texts, temperature: Self.temperature, threadCount: 1)
        for (row, ids) in Self.lines.enumerated() {
            for (d, value) in output(ids, start).enumerated() { #expect(abs(Double(vectors[row, d]) - value) < 1e-5) }
        }
    }

    /// With β₁ = 0 the first moment is the gradient itself: one step shows all of them.
    @Test func `every gradient is that of finite differences`() {
        var options = options
        options.beta1 = 0
        options.roundedEpochCount = 0
        let fitter = ModelFitter(options: options, start: start)
        let sum = fitter.fitStep([0, 1, 2, 3], of: texts, stepCount: 10)
        let cosines = Self.lines.indices.map { row in
            zip(output(Self.lines[row], start), texts.target(row)).reduce(0.0) { $0 + $1.0 * Double($1.1) }
        }
        #expect(abs(sum - cosines.reduce(0) { $0 + 1 - $1 }) < 1e-4)
        let gradients = fitter.recordMeans.values + fitter.denseMeans.values
        var checked = 0
        for at in stride(from: 0, to: gradients.count, by: 11) {
            // The lanes beside b hold nothing.
            if at < start.records.count, at % Self.shape.recordWidth > 96 { continue }
            var (above, below) = (start, start)
            let step: Float = 2e-3
            above.numbers[at] += step
            below.numbers[at] -= step
            let numeric = (loss(above) - loss(below)) / Double(above.numbers[at] - below.numbers[at])
            #expect(abs(numeric - Double(gradients[at])) < 2e-3 + 0.02 * abs(numeric), "number \(at)")
            checked += 1
        }
        #expect(checked > 150)
    }

    @Test func `a step gives the same bits on any number of threads`() {
        let results = [1, 2, 3].map { threads in
            var options = options
            options.threadCount = threads
            let fitter = ModelFitter(options: options, start: start)
            for _ in 0..<3 { _ = fitter.fitStep([3, 1, 0, 2], of: texts, stepCount: 10) }
            return fitter.parameters.numbers.map(\.bitPattern)
        }
        #expect(results[1] == results[0] && results[2] == results[0])
        #expect(results[0] != start.numbers.map(\.bitPattern))
    }
}
