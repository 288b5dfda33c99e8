/// Rows of int8 with one scale each: element = int8 × scale of its row.
package struct QuantizedRows: Sendable, Equatable {
    package let dimensions: Int
    /// `count × dimensions`, row-major.
    package let elements: [Int8]
    package let scales: [Float]
    package var count: Int { scales.count }

    /// Quantises float rows (`rows.count` a multiple of `dimensions`): scale = max|x| / 127, element = x / scale
    /// rounded to nearest, ties to even. A row of zeros has scale 0.
    package init(quantizing rows: [Float], dimensions: Int) {
        precondition(dimensions > 0 && rows.count % dimensions == 0)
        self.dimensions = dimensions
        var elements = [Int8](repeating: 0, count: rows.count)
        var scales = [Float](repeating: 0, count: rows.count / dimensions)
        for row in scales.indices {
            let range = row * dimensions..<(row + 1) * dimensions
            let largest = rows[range].reduce(0) { max($0, abs($1)) }
            guard largest > 0 else { continue }
            let scale = largest / 127
            scales[row] = scale
            for index in range {
                elements[index] = Int8(max(-127, min(127, (rows[index] / scale).rounded(.toNearestOrEven))))
            }
        }
        self.elements = elements
        self.scales = scales
    }
}
