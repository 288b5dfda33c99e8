import COpenBLAS

/// A matrix in somebody's memory, row-major, `stride` floats from row to row; used as it is or transposed.
package struct MatrixView {
    let base: UnsafePointer<Float>
    let stride: Int
    let isTransposed: Bool

    package init(_ base: UnsafePointer<Float>, stride: Int, isTransposed: Bool = false) {
        (self.base, self.stride, self.isTransposed) = (base, stride, isTransposed)
    }
}

/// output (+)= left · right for `rows` × `terms` and `terms` × `columns`, by OpenBLAS on the calling thread.
package func multiply(
    _ left: MatrixView, _ right: MatrixView, rows: Int, columns: Int, terms: Int,
    into output: UnsafeMutablePointer<Float>, stride: Int, adding: Bool = false
) {
    guard rows > 0, columns > 0 else { return }
    _ = singleThreadedBLAS
    cblas_sgemm(
        CblasRowMajor, left.isTransposed ? CblasTrans : CblasNoTrans, right.isTransposed ? CblasTrans : CblasNoTrans,
        blasint(rows), blasint(columns), blasint(terms), 1, left.base, blasint(left.stride), right.base,
        blasint(right.stride), adding ? 1 : 0, output, blasint(stride))
}
