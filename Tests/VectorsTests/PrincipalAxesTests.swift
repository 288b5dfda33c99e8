import Testing
import Vectors

@Suite struct PrincipalAxesTests {
    @Test func `axes, signs and energies of a small second moment are those worked out by hand`() throws {
        // Σ v vᵀ = [[5, 4], [4, 5]] for these rows: energies 9 and 1 along (1, 1)/√2 and (1, −1)/√2.
        var moment = SecondMoment(dimensions: 2)
        moment.add([2, 1])
        moment.add([-1, -2])
        let axes = try #require(moment.principalAxes(count: 2))
        let root = Float(0.5).squareRoot()
        for (row, column, expected) in [(0, 0, root), (1, 0, root), (0, 1, root), (1, 1, -root)] {
            #expect(abs(abs(axes.basis[row, column]) - abs(expected)) < 1e-6)
        }
        #expect(axes.basis[0, 0] > 0 && axes.basis[1, 0] > 0)
        #expect(axes.basis[0, 1] * axes.basis[1, 1] < 0)
        #expect(abs(axes.energyShare - 1) < 1e-12)
        let strongest = try #require(moment.principalAxes(count: 1))
        #expect(abs(strongest.energyShare - 0.9) < 1e-12)
    }

    @Test func `a projection on all axes keeps every cosine, and the kept energy is the share told`() throws {
        let (rows, dimensions, kept) = (200, 24, 9)
        var random = CounterRandom(7)
        var values = (0..<rows * dimensions).map { _ in random.unitFloat() - 0.3 }
        for row in 0..<rows { values[row * dimensions] *= 5 }
        var moment = SecondMoment(dimensions: dimensions)
        moment.add(Array(values[..<(80 * dimensions)]))
        var rest = SecondMoment(dimensions: dimensions)
        rest.add(Array(values[(80 * dimensions)...]))
        moment.add(rest)
        let matrix = Matrix(rowCount: rows, columnCount: dimensions, values: values)
        let whole = matrix.multiplied(by: try #require(moment.principalAxes(count: dimensions)).basis)
        for (i, j) in [(0, 1), (17, 150), (42, 42)] {
            #expect(abs(product(matrix, i, j) - product(whole, i, j)) < 1e-3)
        }
        let axes = try #require(moment.principalAxes(count: kept))
        let projected = matrix.multiplied(by: axes.basis)
        let energies = (0..<kept).map { axis in (0..<rows).reduce(0) { $0 + Double(projected[$1, axis]) * Double(projected[$1, axis]) } }
        #expect(energies == energies.sorted(by: >))
        let total = values.reduce(0) { $0 + Double($1) * Double($1) }
        #expect(abs(energies.reduce(0, +) / total - axes.energyShare) < 1e-5)
    }

    @Test func `the nearest rotation of turned rows is the turn, mirrored or not`() throws {
        var random = CounterRandom(17)
        func numbers(_ rows: Int, _ columns: Int) -> Matrix {
            Matrix(rowCount: rows, columnCount: columns, values: (0..<rows * columns).map { _ in random.unitFloat() - 0.5 })
        }
        for size in [1, 2, 7, 32] {
            var moment = SecondMoment(dimensions: size)
            moment.add(numbers(3 * size, size).values)
            var turn = try #require(moment.principalAxes(count: size)).basis
            for row in 0..<size { turn[row, 0] = -turn[row, 0] }
            let rows = numbers(5 * size, size)
            let found = try #require(rows.transposed().multiplied(by: rows.multiplied(by: turn)).nearestRotation())
            for (a, b) in zip(found.values, turn.values) { #expect(abs(a - b) < 1e-4) }
        }
        #expect(Matrix(rowCount: 1, columnCount: 1, values: [.nan]).nearestRotation() == nil)
    }

    @Test func `values that are not finite give no axes`() {
        var moment = SecondMoment(dimensions: 2)
        moment.add([.nan, 1])
        #expect(moment.principalAxes(count: 1) == nil)
    }

    @Test func `a product is the sum of products`() {
        let (m, n, k) = (5, 3, 7)
        var random = CounterRandom(3)
        let left = Matrix(rowCount: m, columnCount: k, values: (0..<m * k).map { _ in random.unitFloat() })
        let right = Matrix(rowCount: k, columnCount: n, values: (0..<k * n).map { _ in random.unitFloat() })
        let result = left.multiplied(by: right)
        for row in 0..<m {
            for column in 0..<n {
                let expected = (0..<k).reduce(Float(0)) { $0 + left[row, $1] * right[$1, column] }
                #expect(abs(result[row, column] - expected) < 1e-5)
            }
        }
    }

    private func product(_ matrix: Matrix, _ i: Int, _ j: Int) -> Float {
        (0..<matrix.columnCount).reduce(0) { $0 + matrix[i, $1] * matrix[j, $1] }
    }
}

@Suite struct CounterRandomTests {
    @Test func `SplitMix64 gives its published numbers`() {
        // State 1234567 gives these (Rosetta Code, "Pseudo-random numbers/Splitmix64"): reached with the key that
        // makes the first draw's result, exclusive or the key, that state.
        var first = CounterRandom()
        let key = first.next() ^ 1_234_567
        var random = CounterRandom(key)
        #expect(
            (0..<3).map { _ in random.next() }
                == [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423])
    }

    @Test func `a shuffle is a permutation, every place about equally likely`() {
        var counts = [Int](repeating: 0, count: 5)
        for seed in 0..<5_000 {
            var values: [UInt32] = [0, 1, 2, 3, 4]
            var random = CounterRandom(UInt64(seed))
            shuffle(&values, using: &random)
            #expect(values.sorted() == [0, 1, 2, 3, 4])
            counts[values.firstIndex(of: 0) ?? 0] += 1
        }
        #expect(counts.allSatisfy { (900...1_100).contains($0) }, "\(counts)")
    }
}
