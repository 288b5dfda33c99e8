package import Vectors

/// The context rules of a model, as they are stored: H rows of k int8 with a scale each, and a threshold each.
///
/// What every back end computes of them, for n texts with k float features each (algorithm.md, section 5):
/// `bid[i][r] = max(0, K_r · F_i − θ_r)`. A rule fires when its bid is positive.
package struct BidRules: Sendable {
    /// k, the features of a text.
    package let featureCount: Int
    /// H × k, row-major.
    package let elements: [Int8]
    /// H: element r, j of K is `elements[r × k + j] × scales[r]`.
    package let scales: [Float]
    /// H: θ.
    package let thresholds: [Float]
    /// H.
    package var count: Int { scales.count }

    /// The most features that the int8 kernel can add up in 32 bits.
    package static let maximumFeatureCount = 65_536
    /// More rules than any model has had; it keeps the sizes of buffers far from overflow.
    package static let maximumCount = 1 << 20

    /// Fails with `ScoringError.rules` where the columns do not belong together, a number is not finite, or a
    /// limit is passed.
    package init(
        elements: [Int8], scales: [Float], thresholds: [Float], featureCount: Int
    ) throws(ScoringError) {
        guard (1...Self.maximumFeatureCount).contains(featureCount) else {
            throw .rules("\(featureCount) features; between 1 and \(Self.maximumFeatureCount) are possible")
        }
        guard scales.count <= Self.maximumCount else {
            throw .rules("\(scales.count) rules; at most \(Self.maximumCount) are possible")
        }
        guard elements.count == scales.count * featureCount, thresholds.count == scales.count else {
            throw .rules("columns of different lengths")
        }
        guard scales.allSatisfy(\.isFinite), thresholds.allSatisfy(\.isFinite) else {
            throw .rules("a scale or a threshold that is not finite")
        }
        self.featureCount = featureCount
        self.elements = elements
        self.scales = scales
        self.thresholds = thresholds
    }

    /// Copies the rows of a table, one rule a row.
    package init(_ rows: RowTable, thresholds: [Float]) throws(ScoringError) {
        var elements: [Int8] = []
        elements.reserveCapacity(rows.count * rows.dimensions)
        for row in 0..<rows.count {
            for element in rows.elements(row) { elements.append(Int8(element)) }
        }
        try self.init(
            elements: elements, scales: (0..<rows.count).map(rows.scale), thresholds: thresholds,
            featureCount: rows.dimensions)
    }

    /// K as numbers, H × k, row-major: each element rounded once.
    package func dequantized() -> [Float] {
        var values = [Float](repeating: 0, count: elements.count)
        for row in 0..<count {
            for index in row * featureCount..<(row + 1) * featureCount {
                values[index] = Float(elements[index]) * scales[row]
            }
        }
        return values
    }
}
