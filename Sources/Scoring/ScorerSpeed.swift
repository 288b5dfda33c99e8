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
                try fire(session, features, &fired)
                texts += batch
                elapsed = clock.now - begin
            } while elapsed < roundDuration
            // The first round warms up.
            if round > 0 { best = max(best, Double(texts) / (elapsed / .seconds(1))) }
        }
        return best
    }

    /// Rules like a model's, H × k, of which about one in eight fires on the features that are measured with.
    package static func sampleRules(count H: Int, featureCount k: Int) throws(ScoringError) -> BidRules {
        let elements = (0..<H * k).map { Int8(truncatingIfNeeded: ($0 &* 2_654_435_761) >> 16 % 255 - 127) }
        return try BidRules(
            elements: elements.map { max($0, -127) }, scales: [Float](repeating: 1e-3, count: H),
            thresholds: [Float](repeating: Float(k).squareRoot() * 0.0045, count: H), featureCount: k)
    }

    /// Numbers between −0.1 and 0.1 from a fixed sequence.
    package static func sampleFeatures(count: Int) -> [Float] {
        var state: UInt32 = 1
        return (0..<count).map { _ in
            state = state &* 1_664_525 &+ 1_013_904_223
            return (Float(state >> 8) * 0x1p-24 - 0.5) * 0.2
        }
    }

    private static func fire(
        _ session: any BidSession, _ features: [Float], _ fired: inout FiredRules
    ) throws(ScoringError) {
        let result = features.withUnsafeBufferPointer { features -> ScoringError? in
            do throws(ScoringError) {
                try session.fire(features, into: &fired)
                return nil
            } catch {
                return error
            }
        }
        if let result { throw result }
    }
}
