import Vectors

/// Measures how fast a back end scores.
package enum ScorerSpeed {
    /// The best of `rounds` rounds of at least `roundDuration`, in texts a second, on the calling thread; each call
    /// fires the rules of `batch` texts. Best rather than mean: what else the machine does only ever slows it down.
    package static func textsPerSecond(
        _ scorer: any BidScorer, _ rules: BidRules, batch: Int, rounds: Int, roundDuration: Duration
    ) throws(ScoringError) -> Double {
        precondition(batch > 0 && rounds > 0)
        let session = try scorer.makeSession()
        let features = sampleFeatures(count: batch * rules.featureCount)
        var fired = FiredRules(ruleCount: rules.count, textCapacity: batch)
        let clock = ContinuousClock()
        var best = 0.0
        for round in 0...rounds {
            let begin = clock.now
            var (elapsed, texts) = (Duration.zero, 0)
            repeat {
                try features.withUnsafeBufferPointer { features throws(ScoringError) in
                    try session.fire(features, into: &fired)
                }
                texts += batch
                elapsed = clock.now - begin
            } while elapsed < roundDuration
            // The first round warms up.
            if round > 0 { best = max(best, Double(texts) / (elapsed / .seconds(1))) }
        }
        return best
    }

    /// Rules H × k of which about one in eight fires on `sampleFeatures`.
    package static func sampleRules(count H: Int, featureCount k: Int) throws(ScoringError) -> BidRules {
        // The sum's standard deviation is √k · 127 · scale / √3 · 0.1 / √3.
        try BidRules(
            elements: sequence(H * k).map { Int8(($0 * 127).rounded()) },
            scales: [Float](repeating: 1e-3, count: H),
            thresholds: [Float](repeating: Float(k).squareRoot() * 0.0042 * 1.15, count: H), featureCount: k)
    }

    /// Numbers between −0.1 and 0.1.
    package static func sampleFeatures(count: Int) -> [Float] { sequence(count).map { $0 * 0.1 } }

    /// Numbers between −1 and 1, always the same ones.
    private static func sequence(_ count: Int) -> [Float] {
        var random = CounterRandom(UInt64(count))
        return (0..<count).map { _ in random.unitFloat() * 2 - 1 }
    }
}
