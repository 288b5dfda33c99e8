/// Context rules made ready for one back end. Immutable, shared by all threads.
///
/// Every back end is deterministic, and a text's bids depend on its features alone: not on the other texts of the
/// batch, its place in it, or the thread. Back ends differ from each other within a tolerance (`ReferenceScorer`
/// defines the value; `Int8Scorer` also rounds the features).
package protocol BidScorer: Sendable {
    /// Names the arithmetic: two scorers of one name give the same bits (`cpu-3`, `reference-2`,
    /// `blas-2:CORE`, `opencl-2:DEVICE`).
    var numerics: String { get }

    /// What one thread needs to score. Allocates all that is needed for small batches.
    func makeSession() throws(ScoringError) -> any BidSession
}

/// Computes bids on one thread at a time. Holds scratch memory and, with OpenCL, a command queue.
package protocol BidSession: AnyObject {
    /// Every bid. `features` is n × k, finite, row-major; `bids` is n × H, row-major, written whole.
    func score(
        _ features: UnsafeBufferPointer<Float>, into bids: UnsafeMutableBufferPointer<Float>
    ) throws(ScoringError)

    /// The rules that fired only: what the engine reads. `features` as above. Allocates only where `fired` has
    /// to grow, or where the batch is larger than any before it.
    func fire(_ features: UnsafeBufferPointer<Float>, into fired: inout FiredRules) throws(ScoringError)
}
