import COpenBLAS
import Vectors

/// Bids in float32 by OpenBLAS: one `sgemv` a text, on the calling thread.
///
/// Not `sgemm`, although it does twice the arithmetic a second in large batches: OpenBLAS takes different kernels for
/// the edges of a block, so that a text's bits depend on the batch's size and on its place in it
/// (docs/decisions/0004-scorers.md).
package struct BLASScorer: BidScorer {
    private let rules: BidRules
    /// K' transposed, k × H, which OpenBLAS multiplies a little faster.
    private let columns: AlignedMemory<Float>
    /// OpenBLAS chooses its kernels by the processor, so the core's name is part of the arithmetic's.
    package let numerics: String

    package init(_ rules: BidRules) {
        openblas_set_num_threads(1)
        self.rules = rules
        columns = rules.transposed()
        numerics = "blas-2:\(openblas_get_corename().map { String(cString: $0) } ?? "unknown")"
    }

    package func makeSession() -> any BidSession { Session(rules: rules, columns: columns) }

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
            guard n > 0, H > 0, let input = features.baseAddress, let output = bids.baseAddress else {
                return
            }
            for i in 0..<n {
                cblas_sgemv(
                    CblasRowMajor, CblasTrans, blasint(k), blasint(H), 1, columns.base, blasint(H),
                    input + i * k, 1, 0, output + i * H, 1)
            }
            rules.applyThresholds(to: output, textCount: n)
        }
    }
}
