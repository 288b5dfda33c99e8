import CVectorKernels

/// The rules that fired for each text of a batch, and how strongly: columns that a session fills and the engine
/// reads, kept from batch to batch.
///
/// Safe: the memory belongs to this value, and both columns hold `capacity` texts of `stride` entries.
package struct FiredRules: ~Copyable {
    /// Texts of the last batch.
    package private(set) var textCount = 0
    /// A text's part of a column.
    let stride: Int
    private let ruleCount: Int
    private var capacity: Int
    private var indices: UnsafeMutablePointer<UInt32>
    private var strengths: UnsafeMutablePointer<Float>
    private var counts: UnsafeMutablePointer<UInt32>

    /// Room for batches of `textCapacity` texts; larger ones make it grow.
    package init(ruleCount: Int, textCapacity: Int) {
        precondition((0...BidRules.maximumCount).contains(ruleCount) && textCapacity >= 0)
        self.ruleCount = ruleCount
        stride = sae_bid_fired_stride(ruleCount)
        capacity = textCapacity
        (indices, strengths, counts) = Self.columns(textCapacity, stride)
    }

    deinit { free() }

    /// The rules of a text that fired, ascending. Valid until the next batch.
    package func rules(ofText text: Int) -> UnsafeBufferPointer<UInt32> {
        precondition(text >= 0 && text < textCount)
        return UnsafeBufferPointer(start: indices + text * stride, count: Int(counts[text]))
    }

    /// Their bids, all positive. Valid until the next batch.
    package func bids(ofText text: Int) -> UnsafeBufferPointer<Float> {
        precondition(text >= 0 && text < textCount)
        return UnsafeBufferPointer(start: strengths + text * stride, count: Int(counts[text]))
    }

    /// Makes room for a batch and hands out the columns to fill, as `sae_bid_fired_i8` describes them.
    mutating func prepare(textCount: Int, ruleCount: Int) -> (
        indices: UnsafeMutablePointer<UInt32>, bids: UnsafeMutablePointer<Float>,
        counts: UnsafeMutablePointer<UInt32>
    ) {
        precondition(ruleCount == self.ruleCount, "columns of another rule set")
        if textCount > capacity {
            free()
            capacity = textCount
            (indices, strengths, counts) = Self.columns(textCount, stride)
        }
        self.textCount = textCount
        return (indices, strengths, counts)
    }

    /// Fills the columns from every bid, n × H.
    mutating func collect(_ bids: UnsafePointer<Float>, textCount: Int, ruleCount: Int) {
        let columns = prepare(textCount: textCount, ruleCount: ruleCount)
        for text in 0..<textCount {
            sae_bid_collect(
                bids + text * ruleCount, ruleCount, columns.indices + text * stride,
                columns.bids + text * stride, columns.counts + text)
        }
    }

    private func free() {
        indices.deallocate()
        strengths.deallocate()
        counts.deallocate()
    }

    private static func columns(_ texts: Int, _ stride: Int) -> (
        UnsafeMutablePointer<UInt32>, UnsafeMutablePointer<Float>, UnsafeMutablePointer<UInt32>
    ) {
        let size = max(texts * stride, 1)
        return (.allocate(capacity: size), .allocate(capacity: size), .allocate(capacity: max(texts, 1)))
    }
}
