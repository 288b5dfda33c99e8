import Vectors

/// A session of a back end that computes every bid: those that fired are picked afterwards.
protocol DenseBidSession: BidSession {
    var rules: BidRules { get }
    /// Memory for the bids of a batch.
    var dense: AlignedMemory<Float> { get }
}

extension DenseBidSession {
    func fire(
        _ features: UnsafeBufferPointer<Float>, into fired: inout FiredRules
    ) throws(ScoringError) {
        let textCount = rules.textCount(features)
        dense.reserve(textCount * rules.count)
        try score(
            features, into: UnsafeMutableBufferPointer(start: dense.base, count: textCount * rules.count))
        fired.collect(dense.base, textCount: textCount, ruleCount: rules.count)
    }
}

extension BidRules {
    /// n, from the features of a batch.
    func textCount(_ features: UnsafeBufferPointer<Float>) -> Int {
        precondition(features.count % featureCount == 0, "whole texts")
        return features.count / featureCount
    }

    /// K' = element · scale, transposed: k × H.
    func transposed() -> AlignedMemory<Float> {
        let columns = AlignedMemory<Float>(count: elements.count)
        for r in 0..<count {
            for j in 0..<featureCount {
                columns.base[j * count + r] = Float(elements[r * featureCount + j]) * scales[r]
            }
        }
        return columns
    }

    /// bid = max(0, sum − θ) in place, for n × H sums.
    func applyThresholds(to sums: UnsafeMutablePointer<Float>, textCount: Int) {
        thresholds.withUnsafeBufferPointer { thresholds in
            guard let thresholds = thresholds.baseAddress else { return }
            for text in 0..<textCount {
                let row = sums + text * count
                for r in 0..<count {
                    let margin = row[r] - thresholds[r]
                    row[r] = margin > 0 ? margin : 0
                }
            }
        }
    }
}
