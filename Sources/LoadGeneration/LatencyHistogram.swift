/// Latencies in nanoseconds, counted in buckets that are at most 1/64 wide relative to their value.
package struct LatencyHistogram: Sendable {
    private static let subBits = 6
    private var counts = [UInt64](repeating: 0, count: 64 << subBits)
    package private(set) var count: UInt64 = 0

    package init() {}

    package mutating func record(_ nanoseconds: UInt64) {
        counts[Self.bucket(nanoseconds)] += 1
        count += 1
    }

    package mutating func add(_ other: LatencyHistogram) {
        for index in counts.indices { counts[index] += other.counts[index] }
        count += other.count
    }

    /// The value that a `share` (0 to 1) of the latencies do not exceed, rounded up to the end of its bucket; 0
    /// without any.
    package func quantile(_ share: Double) -> UInt64 {
        guard count > 0 else { return 0 }
        let rank = max(1, UInt64((Double(count) * share).rounded(.up)))
        var seen: UInt64 = 0
        for index in counts.indices {
            seen += counts[index]
            if seen >= rank { return Self.upperEnd(index) }
        }
        return Self.upperEnd(counts.count - 1)
    }

    /// Values below 2^subBits have a bucket each; above, 2^subBits buckets a power of two.
    private static func bucket(_ value: UInt64) -> Int {
        let magnitude = 63 - max(value, 1).leadingZeroBitCount
        guard magnitude > subBits else { return Int(value) }
        let shift = magnitude - subBits
        return (shift << subBits) + Int(value >> UInt64(shift))
    }

    private static func upperEnd(_ index: Int) -> UInt64 {
        guard index >= 2 << subBits else { return UInt64(index) }
        let shift = UInt64((index >> subBits) - 1)
        let base = UInt64(index) - (shift << UInt64(subBits))
        return (base + 1) << shift - 1
    }
}
