import COpenBLAS

/// A dense float32 matrix, row-major.
package struct Matrix: Sendable, Equatable {
    package let rowCount: Int
    package let columnCount: Int
    /// `rowCount` × `columnCount` values, row after row.
    package var values: [Float]

    package init(rowCount: Int, columnCount: Int, values: [Float]) {
        precondition(values.count == rowCount * columnCount)
        self.rowCount = rowCount
        self.columnCount = columnCount
        self.values = values
    }

    package init(zeros rowCount: Int, _ columnCount: Int) {
        self.init(
            rowCount: rowCount, columnCount: columnCount,
            values: [Float](repeating: 0, count: rowCount * columnCount))
    }

    package subscript(row: Int, column: Int) -> Float {
        get { values[row * columnCount + column] }
        set { values[row * columnCount + column] = newValue }
    }

    package func transposed() -> Matrix {
        var result = Matrix(zeros: columnCount, rowCount)
        for row in 0..<rowCount {
            for column in 0..<columnCount { result[column, row] = self[row, column] }
        }
        return result
    }

    /// `self · other` by OpenBLAS on the calling thread.
    package func multiplied(by other: Matrix) -> Matrix {
        precondition(columnCount == other.rowCount)
        var product = Matrix(zeros: rowCount, other.columnCount)
        guard !product.values.isEmpty, columnCount > 0 else { return product }
        product.values.withUnsafeMutableBufferPointer { output in
            multiply(values, rowCount: rowCount, by: other, into: output)
        }
        return product
    }
}

/// `left · right`, where `left` holds `rowCount` rows of `right.rowCount` values; `output` takes `rowCount` rows of
/// `right.columnCount`. Single-threaded and safe from several threads at once: callers split the rows themselves,
/// which is faster than OpenBLAS's own threads and gives the same bits for any split in whole blocks.
package func multiply(
    _ left: [Float], rowCount: Int, by right: Matrix, into output: UnsafeMutableBufferPointer<Float>
) {
    precondition(left.count >= rowCount * right.rowCount && output.count >= rowCount * right.columnCount)
    _ = singleThreadedBLAS
    cblas_sgemm(
        CblasRowMajor, CblasNoTrans, CblasNoTrans,
        blasint(rowCount), blasint(right.columnCount), blasint(right.rowCount),
        1, left, blasint(right.rowCount), right.values, blasint(right.columnCount),
        0, output.baseAddress, blasint(right.columnCount))
}

/// Tells OpenBLAS, once, to compute on the thread that calls it.
let singleThreadedBLAS: Void = openblas_set_num_threads(1)
