import Glibc

/// How many times longer than usual tests wait for what must happen: `TEST_PATIENCE`, 1 unless it is set.
/// `scripts/sanitize.sh` sets it, because a sanitizer makes everything slow.
package let patience: Double = {
    guard let text = getenv("TEST_PATIENCE").map({ String(cString: $0) }) else { return 1 }
    guard let factor = Double(text), (1...1000).contains(factor) else { fatalError("TEST_PATIENCE is no number from 1 to 1000: \(text)") }
    return factor
}()

/// The end of a wait of `seconds` by `patience`.
package func deadline(in seconds: Double) -> ContinuousClock.Instant { .now + .seconds(seconds * patience) }

/// Waits until `condition` holds, at most `seconds` by `patience`.
package func eventually(_ seconds: Double = 5, _ condition: () async throws -> Bool) async rethrows -> Bool {
    let end = deadline(in: seconds)
    while ContinuousClock.now < end {
        if try await condition() { return true }
        try? await Task.sleep(for: .milliseconds(5))
    }
    return try await condition()
}
