import COpenBLAS
import Dispatch

/// Σ v vᵀ over rows of float32, in float64: what uncentred principal axes come from (algorithm.md, section 10).
package struct SecondMoment: Sendable {
    package let dimensions: Int
    /// The lower triangle of the symmetric `dimensions` × `dimensions` sum; row-major, other half zero.
    private var sum: [Double]

    package init(dimensions: Int) {
        precondition(dimensions > 0)
        self.dimensions = dimensions
        sum = [Double](repeating: 0, count: dimensions * dimensions)
    }

    /// Adds `rows`: a multiple of `dimensions` values, row after row.
    package mutating func add(_ rows: [Float]) {
        precondition(rows.count % dimensions == 0)
        _ = singleThreadedBLAS
        let wide = rows.map(Double.init)
        cblas_dsyrk(
            CblasRowMajor, CblasLower, CblasTrans, blasint(dimensions), blasint(rows.count / dimensions),
            1, wide, blasint(dimensions), 1, &sum, blasint(dimensions))
    }

    package mutating func add(_ other: SecondMoment) {
        precondition(dimensions == other.dimensions)
        for index in sum.indices { sum[index] += other.sum[index] }
    }

    /// The `count` strongest principal axes. Nil when LAPACK fails to converge (values that are not finite).
    package func principalAxes(count: Int) -> PrincipalAxes? {
        precondition((1...dimensions).contains(count))
        _ = singleThreadedBLAS
        var vectors = sum
        var energies = [Double](repeating: 0, count: dimensions)
        var work = [Double](repeating: 0, count: 1 + 6 * dimensions + 2 * dimensions * dimensions)
        var integers = [Int32](repeating: 0, count: 3 + 5 * dimensions)
        var (size, workSize, integerSize, status) =
            (Int32(dimensions), Int32(work.count), Int32(integers.count), Int32(0))
        let leading = size
        // The row-major lower triangle is LAPACK's column-major upper one.
        dsyevd_("V", "U", &size, &vectors, [leading], &energies, &work, &workSize, &integers, &integerSize, &status)
        guard status == 0, energies.allSatisfy(\.isFinite) else { return nil }
        // Column j of LAPACK's result is contiguous: axis of the j-th smallest energy.
        var basis = Matrix(zeros: dimensions, count)
        for axis in 0..<count {
            let start = (dimensions - 1 - axis) * dimensions
            let column = vectors[start..<start + dimensions]
            let strongest = column.max { abs($0) < abs($1) } ?? 1
            let sign: Double = strongest < 0 ? -1 : 1
            for (row, value) in column.enumerated() { basis[row, axis] = Float(sign * value) }
        }
        let strengths = energies.reversed().map { max(0, $0) }
        let total = strengths.reduce(0, +)
        let share = total > 0 ? strengths.prefix(count).reduce(0, +) / total : 0
        return PrincipalAxes(basis: basis, energyShare: share)
    }
}

/// An orthonormal basis of the strongest directions of a set of vectors; no mean is removed, so cosines survive.
package struct PrincipalAxes: Sendable, Equatable {
    /// Old dimensions × new ones; column 0 is the strongest axis, and its largest component is positive, as in
    /// every column. `v · basis` projects.
    package let basis: Matrix
    /// Σ of the kept energies over Σ of all, 0 … 1.
    package let energyShare: Double
}

extension Matrix {
    /// Of all square matrices that turn and mirror without stretching, the one Q with the largest Σ q · self: with
    /// `self` = Aᵀ B the Q for which A · Q comes nearest to B (Schönemann 1966). Nil when a value is not finite.
    package func nearestRotation() -> Matrix? {
        precondition(rowCount == columnCount && rowCount > 0)
        _ = singleThreadedBLAS
        guard values.allSatisfy(\.isFinite) else { return nil }
        let count = rowCount
        var a = values.map(Double.init)
        var strengths = [Double](repeating: 0, count: count)
        var (left, right) = ([Double](repeating: 0, count: count * count), [Double](repeating: 0, count: count * count))
        var work = [Double](repeating: 0, count: 4 * count * count + 7 * count)
        var integers = [Int32](repeating: 0, count: 8 * count)
        var (size, workSize, status) = (Int32(count), Int32(work.count), Int32(0))
        let leading = size
        dgesdd_(
            "A", &size, [leading], &a, [leading], &strengths, &left, [leading], &right, [leading], &work, &workSize, &integers,
            &status)
        guard status == 0 else { return nil }
        // LAPACK read the transpose, Mᵀ = L S R, so that M = Rᵀ S Lᵀ and Q = Rᵀ Lᵀ. Its columns lie one behind the other:
        // read by rows, `left` is Lᵀ and `right` is Rᵀ.
        let first = Matrix(rowCount: count, columnCount: count, values: right.map { Float($0) })
        let second = Matrix(rowCount: count, columnCount: count, values: left.map { Float($0) })
        return first.multiplied(by: second)
    }
}
