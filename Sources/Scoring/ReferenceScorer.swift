import Vectors

/// The plain twin that defines the bids of the float back ends:
///
///     K'_rj = element_rj · scale_r                         rounded once
///     sum   = 0; for j = 0 ..< k: sum = sum + F_j · K'_rj   each product and each sum rounded
///     bid   = max(0, sum − θ_r)
///
/// BLAS and OpenCL add in other orders or fuse; `tolerance` bounds how far their bids may lie from these.
package struct ReferenceScorer: BidScorer {
    private let rules: BidRules
    /// K' transposed, k × H: the inner loop runs over rules, so that the compiler can use vectors.
    private let columns: AlignedMemory<Float>

    package var numerics: String { "reference-2" }

    package init(_ rules: BidRules) {
        self.rules = rules
        columns = rules.transposed()
    }

    package func makeSession() -> any BidSession { Session(rules: rules, columns: columns) }

    /// How far a bid computed in float32 by any order of additions, fused or not, may lie from this one's:
    /// 2 · (k + 2) · ε/2 · (Σ_j |F_j · K'_rj| + |θ_r|), from the usual bound of a dot product (Higham, "Accuracy
    /// and Stability of Numerical Algorithms", section 3.1) for either side; ε/2 = 2^-24.
    package static func tolerance(_ rules: BidRules, rule r: Int, features: some Collection<Float>) -> Float {
        var magnitude = abs(rules.thresholds[r])
        for (j, feature) in features.enumerated() {
            magnitude += abs(feature * Float(rules.elements[r * rules.featureCount + j]) * rules.scales[r])
        }
        return 2 * Float(rules.featureCount + 2) * 0x1p-24 * magnitude
    }

    private final class Session: DenseBidSession {
        let rules: BidRules
        let dense = AlignedMemory<Float>(count: 0)
        private let columns: AlignedMemory<Float>

        init(rules: BidRules, columns: AlignedMemory<Float>) {
            self.rules = rules
            self.columns = columns
        }

        func score(_ features: UnsafeBufferPointer<Float>, into bids: UnsafeMutableBufferPointer<Float>) {
            let (n, H, k) = (rules.textCount(features), rules.count, rules.featureCount)
            precondition(bids.count >= n * H)
            guard n > 0, let output = bids.baseAddress else { return }
            for i in 0..<n {
                let row = output + i * H
                for r in 0..<H { row[r] = 0 }
                for j in 0..<k {
                    let (feature, column) = (features[i * k + j], columns.base + j * H)
                    for r in 0..<H { row[r] += feature * column[r] }
                }
            }
            rules.applyThresholds(to: output, textCount: n)
        }
    }
}
