/// When a call that failed may be made again: at most so often, later and later, and only while most calls succeed (after
/// gRPC's retry design, A6), so that repeating never makes an overload worse.
package struct RetryPolicy: Sendable {
    /// Attempts of one call, the first included.
    private let maximumAttempts: Int
    private var tokens = 10.0

    package init(maximumAttempts: Int) { self.maximumAttempts = maximumAttempts }

    package mutating func callSucceeded() { tokens = min(10, tokens + 0.1) }

    /// A failure after which nothing was begun. What many calls lost at once, as with their connection, is one failure.
    package mutating func callFailed() { tokens = max(0, tokens - 1) }

    /// Nanoseconds until the next attempt after `attempts` of them; nil when there is none. `retryAfter` is what the server
    /// said, in nanoseconds; `jitter` lies between -1 and 1; `persists`: however often it failed.
    package func delay(afterAttempts attempts: Int, retryAfter: UInt64?, jitter: Double, persists: Bool = false) -> UInt64? {
        guard persists || attempts < maximumAttempts && tokens > 5 else { return nil }
        let standard: UInt64 = min(1_000_000_000, 50_000_000 << UInt64(min(attempts - 1, 5)))
        let pause: UInt64 = retryAfter ?? standard
        return UInt64(Double(pause) * (1.0 + 0.2 * jitter))
    }
}

/// The pauses between attempts to connect: from 100 ms on, each 1.6 times the one before, up to 10 s, give or take a fifth.
package struct Backoff: Sendable {
    private var next = 100_000_000.0

    package init() {}

    /// Nanoseconds; `jitter` lies between -1 and 1.
    package mutating func pause(jitter: Double) -> UInt64 {
        defer { next = min(next * 1.6, 10_000_000_000) }
        return UInt64(next * (1 + 0.2 * jitter))
    }
}
