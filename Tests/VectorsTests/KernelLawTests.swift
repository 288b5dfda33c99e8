import CVectorKernels
import TestSupport
import Testing
import Vectors

@Suite struct KernelLawTests {
    private static let shapes = [1, 2, 7, 15, 16, 17, 31, 63, 64, 65, 127, 128, 192, 255, 256, 257, 320, 512, 769, 1024]
    private static let widths = [16, 32, 48, 64, 80, 112, 128, 192, 240, 256, 272, 320, 512, 768, 1024]
    private static let counts = [0, 1, 2, 3, 5, 19, 64, 127]

    /// Σ in item order by plain Swift: the definition, written a second time.
    private static func plainSum(
        _ rows: [Int8], _ scales: [Float], _ dimensions: Int, _ ids: [UInt32], _ weights: [Float]?, _ start: [Float]
    ) -> [UInt32] {
        (0..<dimensions).map { d in
            var sum = start[d]
            for (item, id) in ids.enumerated() {
                let coefficient = weights.map { $0[item] * scales[Int(id)] } ?? scales[Int(id)]
                sum.addProduct(coefficient, Float(rows[Int(id) * dimensions + d]))
            }
            return sum.bitPattern
        }
    }

    @Test(arguments: InstructionSet.available)
    func `adding rows has the bits of the plain loop for every shape`(set: InstructionSet) {
        var random = SeededRandom(seed: 11)
        for dimensions in Self.widths {
            let vocabulary = 40
            let rows = (0..<vocabulary * dimensions).map { _ in Int8.random(in: -128...127, using: &random) }
            var scales = (0..<vocabulary).map { _ in Float.random(in: 1e-4...1e-1, using: &random) }
            scales[0] = 0
            scales[1] = Float.leastNonzeroMagnitude * 7
            for count in Self.counts {
                let ids = (0..<count).map { _ in UInt32.random(in: 0..<UInt32(vocabulary), using: &random) }
                let some = (0..<count).map { _ in Float.random(in: 0.01...50, using: &random) }
                let start = (0..<dimensions).map { _ in Float.random(in: -1...1, using: &random) }
                for weights in [nil, some] {
                    // One guard element behind the sum must stay untouched.
                    var sum = start + [3]
                    sae_add_rows(set.rawValue, rows, scales, dimensions, ids, weights, count, &sum)
                    #expect(sum.last == 3)
                    #expect(
                        sum.dropLast().map(\.bitPattern) == Self.plainSum(rows, scales, dimensions, ids, weights, start),
                        "\(dimensions) dimensions, \(count) items")
                }
            }
        }
    }

    @Test(arguments: InstructionSet.available)
    func `lifting many texts has the bits of adding rows to each`(set: InstructionSet) {
        var random = SeededRandom(seed: 16)
        for dimensions in Self.widths {
            for (count, texts) in [(0, 3), (1, 1), (16, 4), (64, 7), (48, 33)] {
                let rows = (0..<count * dimensions).map { _ in Int8.random(in: -128...127, using: &random) }
                let scales = (0..<count).map { _ in Float.random(in: 1e-3...1e-1, using: &random) }
                let factors = (0..<texts * (count + 5)).map { _ in Float.random(in: -1...1, using: &random) }
                var x = (0..<texts * dimensions).map { _ in Float.random(in: -1...1, using: &random) }
                let start = x
                sae_add_lifts(set.rawValue, rows, scales, count, dimensions, factors, count + 5, texts, &x)
                for text in 0..<texts {
                    let place = text * dimensions..<(text + 1) * dimensions
                    let weights = Array(factors[text * (count + 5)..<text * (count + 5) + count])
                    #expect(
                        x[place].map(\.bitPattern)
                            == Self.plainSum(rows, scales, dimensions, (0..<UInt32(count)).map { $0 }, weights, Array(start[place])),
                        "\(dimensions) dimensions, \(count) rows, \(texts) texts")
                }
            }
        }
    }

    @Test(arguments: InstructionSet.available)
    func `rows times a vector add sixteen lanes in a fixed tree`(set: InstructionSet) {
        var random = SeededRandom(seed: 15)
        // Eight rows at a time, then what is left.
        for dimensions in Self.widths {
            for count in [0, 1, 3, 7, 8, 9, 16, 17] {
                let rows = (0..<count * dimensions).map { _ in Float.random(in: -1...1, using: &random) }
                let x = (0..<dimensions).map { _ in Float.random(in: -1...1, using: &random) }
                // One guard element behind the products must stay untouched.
                var output = [Float](repeating: 9, count: count + 1)
                sae_multiply_rows(set.rawValue, rows, count, dimensions, x, &output)
                #expect(output.last == 9)
                for row in 0..<count {
                    var lanes = [Float](repeating: 0, count: 16)
                    for d in 0..<dimensions { lanes[d % 16].addProduct(rows[row * dimensions + d], x[d]) }
                    while lanes.count > 1 {
                        let half = lanes.count / 2
                        lanes = (0..<half).map { lanes[$0] + lanes[$0 + half] }
                    }
                    #expect(output[row].bitPattern == lanes[0].bitPattern, "\(dimensions) dimensions, row \(row) of \(count)")
                }
            }
        }
    }

    @Test func `the sum of squares adds sixteen lanes in a fixed tree`() {
        var random = SeededRandom(seed: 12)
        for count in Self.shapes {
            let x = (0..<count).map { _ in Float.random(in: -3...3, using: &random) }
            var lanes = [Float](repeating: 0, count: 16)
            for (d, value) in x.enumerated() {
                let square = value * value
                lanes[d % 16] = lanes[d % 16] + square
            }
            while lanes.count > 1 {
                let half = lanes.count / 2
                lanes = (0..<half).map { lanes[$0] + lanes[$0 + half] }
            }
            #expect(sae_sum_of_squares(x, count).bitPattern == lanes[0].bitPattern, "\(count) dimensions")
        }
    }

    @Test func `normalising multiplies by the inverse of the root of the sum of squares`() {
        var random = SeededRandom(seed: 13)
        for count in Self.shapes {
            let x = (0..<count).map { _ in Float.random(in: -3...3, using: &random) }
            let length = sae_sum_of_squares(x, count).squareRoot()
            var unit = [Float](repeating: 0, count: count)
            #expect(normalize(x, count: count, into: &unit))
            #expect(unit.map(\.bitPattern) == x.map { ($0 * (1 / length)).bitPattern })
            let exact = unit.reduce(0.0) { $0 + Double($1) * Double($1) }
            #expect(abs(exact - 1) < 1e-5)
        }
    }

    @Test func `a dot product agrees with double precision`() {
        let failure = forAll(seed: 14) { size, random in
            (0..<2).map { _ in (0..<size).map { _ in Float.random(in: -1...1, using: &random) } }
        } holds: { pair in
            let exact = zip(pair[0], pair[1]).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
            return abs(Double(dot(pair[0], pair[1])) - exact) < 1e-4
        }
        #expect(failure == nil)
    }
}
