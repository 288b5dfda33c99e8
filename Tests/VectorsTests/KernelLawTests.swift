import CVectorKernels
import TestSupport
import Testing
import Vectors

@Suite struct KernelLawTests {
    private static let shapes = [1, 2, 7, 15, 16, 17, 31, 63, 64, 65, 127, 128, 192, 255, 256, 257, 320, 512, 769, 1024]
    private static let widths = [16, 32, 48, 64, 80, 112, 128, 192, 240, 256, 272, 320, 512, 768, 1024]
    private static let counts = [0, 1, 2, 3, 5, 19, 64, 127, 513]

    /// Coefficients as multiples of a step: the definition, written a second time.
    private static func rounded(_ coefficients: [Float], levels: Float) -> (step: Float, multiples: [Int]) {
        let step = coefficients.reduce(0) { max($0, abs($1)) } / levels
        guard step >= .leastNormalMagnitude else { return (0, coefficients.map { _ in 0 }) }
        return (step, coefficients.map { Int(($0 * (1 / step)).rounded(.toNearestOrEven)) })
    }

    private static func plainSum(
        _ rows: [Int8], _ scales: [Float], _ dimensions: Int, _ ids: [UInt32], _ weights: [Float]?, _ start: [Float]
    ) -> [UInt32] {
        var sum = start
        for first in stride(from: 0, to: ids.count, by: 512) {
            let block = first..<min(ids.count, first + 512)
            let coefficients = block.map { item in
                max(0, weights.map { $0[item] * scales[Int(ids[item])] } ?? scales[Int(ids[item])])
            }
            let (step, multiples) = rounded(coefficients, levels: 255)
            for d in 0..<dimensions {
                let whole = zip(block, multiples).reduce(0) { $0 + $1.1 * Int(rows[Int(ids[$1.0]) * dimensions + d]) }
                sum[d].addProduct(step, Float(whole))
            }
        }
        return sum.map(\.bitPattern)
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
    func `extreme rows and coefficients neither saturate nor wrap`(set: InstructionSet) {
        for (element, count) in [(Int8(-128), 512), (127, 512), (-128, 1025)] {
            let rows = [Int8](repeating: element, count: 64)
            var sum = [Float](repeating: 0, count: 64)
            sae_add_rows(set.rawValue, rows, [1], 64, [UInt32](repeating: 0, count: count), nil, count, &sum)
            #expect(sum.allSatisfy { abs($0 - Float(Int(element) * count)) < 0.1 })
        }
        let ids: [UInt32] = [0, 1, 0]
        let rows = (0..<32).map { Int8($0) }
        for (weights, isFinite) in [
            ([1, .nan, 1], false), ([1, .infinity, 1], false), ([0, 0, 0], true), ([Float.leastNormalMagnitude / 8, 0, .leastNonzeroMagnitude], true),
            ([3e38, 3e38, 3e38], true), ([-1, -2, -3], true),
        ] as [([Float], Bool)] {
            var sum = [Float](repeating: 5, count: 16)
            sae_add_rows(set.rawValue, rows, [1, 1], 16, ids, weights, 3, &sum)
            #expect(sum.allSatisfy { $0.isNaN } == !isFinite, "\(weights)")
            if isFinite {
                #expect(sum.map(\.bitPattern) == Self.plainSum(rows, [1, 1], 16, ids, weights, [Float](repeating: 5, count: 16)))
            }
        }
    }

    @Test(arguments: InstructionSet.available)
    func `a matrix times a vector has the bits of the plain loop for every shape`(set: InstructionSet) {
        var random = SeededRandom(seed: 16)
        for columns in [1, 3, 4, 7, 15, 16, 17, 63, 64, 65, 256, 320, 1024] {
            for rows in [1, 7, 8, 9, 15, 16, 17, 31, 48, 64, 80, 81, 128] where rows * columns < 40_000 {
                let elements = (0..<rows * columns).map { _ in Int8.random(in: -128...127, using: &random) }
                let rowScales = (0..<rows).map { _ in Float.random(in: 1e-3...1e-1, using: &random) }
                let columnScales = (0..<columns).map { _ in Float.random(in: 1e-3...1e-1, using: &random) }
                let x = (0..<columns).map { _ in Float.random(in: -1...1, using: &random) }
                let start = (0..<rows).map { _ in Float.random(in: -1...1, using: &random) }
                for (byRow, byColumn) in [(rowScales, nil), (nil, columnScales), (rowScales, columnScales)] as [([Float]?, [Float]?)] {
                    let matrix = PackedMatrix(
                        elements: elements, rowCount: rows, columnCount: columns, rowScales: byRow, columnScales: byColumn)
                    // One guard element behind the products must stay untouched.
                    var output = start + [9]
                    matrix.addProduct(with: x, using: set, to: &output)
                    #expect(output.last == 9)
                    let (step, multiples) = Self.rounded(
                        (0..<columns).map { byColumn == nil ? x[$0] : x[$0] * columnScales[$0] }, levels: 127)
                    let expected = (0..<rows).map { row in
                        let whole = (0..<columns).reduce(0) { $0 + multiples[$1] * Int(elements[row * columns + $1]) }
                        return start[row].addingProduct(byRow == nil ? step : step * rowScales[row], Float(whole)).bitPattern
                    }
                    #expect(output.dropLast().map(\.bitPattern) == expected, "\(rows) × \(columns)")
                }
            }
        }
        let matrix = PackedMatrix(elements: [Int8](repeating: -128, count: 16 * 1024), rowCount: 16, columnCount: 1024)
        var output = [Float](repeating: 0, count: 16)
        matrix.addProduct(with: [Float](repeating: -127, count: 1024), using: set, to: &output)
        #expect(output.allSatisfy { $0 == 127 * 128 * 1024 })
        matrix.addProduct(with: [Float](repeating: .nan, count: 1024), using: set, to: &output)
        #expect(output.allSatisfy { $0.isNaN })
    }

    /// Σ x² in 64 lanes.
    private static func plainSquares(_ x: [Float]) -> Float {
        var lanes = [Float](repeating: 0, count: 64)
        for (d, value) in x.enumerated() { lanes[d % 64].addProduct(value, value) }
        while lanes.count > 1 {
            let half = lanes.count / 2
            lanes = (0..<half).map { lanes[$0] + lanes[$0 + half] }
        }
        return lanes[0]
    }

    @Test(arguments: InstructionSet.available)
    func `the sum of squares adds sixty-four lanes in a fixed tree`(set: InstructionSet) {
        var random = SeededRandom(seed: 12)
        for count in Self.shapes {
            let x = (0..<count).map { _ in Float.random(in: -3...3, using: &random) }
            #expect(
                sae_sum_of_squares(set.rawValue, x, count).bitPattern == Self.plainSquares(x).bitPattern, "\(count) dimensions")
        }
    }

    @Test(arguments: InstructionSet.available)
    func `normalising multiplies by the inverse of the root of the sum of squares`(set: InstructionSet) {
        var random = SeededRandom(seed: 13)
        for count in Self.shapes {
            let x = (0..<count).map { _ in Float.random(in: -3...3, using: &random) }
            let length = Self.plainSquares(x).squareRoot()
            var unit = [Float](repeating: 0, count: count)
            #expect(normalize(x, count: count, using: set, into: &unit))
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
