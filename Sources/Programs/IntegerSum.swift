/// Coefficients of a sum of int8 rows, as the engine rounds them: to whole multiples of one step (`CVectorKernels.h`).
package struct IntegerSum: Sendable, Equatable {
    /// Rows that are summed at once.
    package static let blockSize = 512
    /// The largest multiple that a row's coefficient becomes.
    package static let rowLevels: Float = 255
    /// The largest multiple that a coupling's feature becomes.
    package static let featureLevels: Float = 127

    /// 0 where all coefficients vanish, NaN where one is not finite.
    package let step: Float
    package let multiples: [Int32]

    /// step = max|c| / levels; multiple = c · (1 / step), rounded to nearest, ties to even.
    package init(rounding coefficients: [Float], levels: Float) {
        let largest = coefficients.reduce(0) { $1.isFinite ? max($0, abs($1)) : .infinity }
        guard largest < .infinity, largest / levels >= .leastNormalMagnitude else {
            step = largest < .infinity ? 0 : .nan
            multiples = coefficients.map { _ in 0 }
            return
        }
        let step = largest / levels
        self.step = step
        multiples = coefficients.map { Int32(($0 * (1 / step)).rounded(.toNearestOrEven)) }
    }

    /// The coefficients of any number of rows, block by block, as they take part.
    package static func rounded(_ coefficients: [Float]) -> [Float] {
        stride(from: 0, to: coefficients.count, by: blockSize).flatMap { start in
            let block = Array(coefficients[start..<min(coefficients.count, start + blockSize)])
            return IntegerSum(rounding: block, levels: rowLevels).values
        }
    }

    /// The coefficients as they take part.
    package var values: [Float] { multiples.map { step * Float($0) } }
}
