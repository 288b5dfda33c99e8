import Bytes
import Vectors

/// What a model is fitted to: texts with the teacher's vectors.
package struct CorpusPair: Sendable {
    /// One text a line, plain or gzip.
    package var texts: String
    /// `.npy`, a row a line: float32, float16, or int8 (a scale a row changes nothing: only directions count).
    package var vectors: String

    package init(texts: String, vectors: String) {
        self.texts = texts
        self.vectors = vectors
    }
}

/// Unit vectors, as int8 with a scale a row: `rows × dimensions`.
struct TeacherTargets {
    private(set) var elements: [Int8] = []
    private(set) var scales: [Float] = []

    /// Reads the vectors of all pairs, projected by `basis` (width × dimensions), or taken as they are where they have
    /// `dimensions` columns already.
    init(_ arrays: [NumpyArray], basis: Matrix?, dimensions: Int) throws(FitError) {
        for array in arrays {
            let isProjected = array.columnCount == dimensions
            guard isProjected || array.columnCount == basis?.rowCount else {
                throw .wrongWidth(path: array.path, columns: array.columnCount, expected: basis?.rowCount ?? dimensions)
            }
            for first in stride(from: 0, to: array.rowCount, by: 4096) {
                let count = min(4096, array.rowCount - first)
                var block: [Float] = []
                for row in first..<first + count { block += array.row(row) }
                if !isProjected, let basis {
                    block = Matrix(rowCount: count, columnCount: array.columnCount, values: block)
                        .multiplied(by: basis).values
                }
                try append(block, dimensions: dimensions, path: array.path, firstRow: first)
            }
        }
    }

    private mutating func append(
        _ block: [Float], dimensions: Int, path: String, firstRow: Int
    ) throws(FitError) {
        let quantized = QuantizedRows(quantizing: block.map { $0.isFinite ? $0 : 0 }, dimensions: dimensions)
        elements += quantized.elements
        for row in 0..<quantized.count {
            let values = quantized.elements[row * dimensions..<(row + 1) * dimensions].map(Float.init)
            let length = dot(values, values).squareRoot()
            let isFinite = block[row * dimensions..<(row + 1) * dimensions].allSatisfy(\.isFinite)
            guard isFinite, length > 0 else { throw .badVector(path: path, row: firstRow + row) }
            scales.append(1 / length)
        }
    }

    /// The strongest `dimensions` axes of up to 100,000 vectors of the first array, no mean removed.
    static func axes(_ array: NumpyArray, dimensions: Int) throws(FitError) -> Matrix {
        var moment = SecondMoment(dimensions: array.columnCount)
        let step = max(1, array.rowCount / 100_000)
        var block: [Float] = []
        for row in stride(from: 0, to: array.rowCount, by: step) {
            block += array.row(row)
            if block.count >= 4096 * array.columnCount {
                moment.add(block)
                block.removeAll(keepingCapacity: true)
            }
        }
        moment.add(block)
        guard let axes = moment.principalAxes(count: dimensions) else { throw .noAxes }
        return axes.basis
    }
}
