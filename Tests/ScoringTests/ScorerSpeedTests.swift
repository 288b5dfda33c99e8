import Scoring
import TestSupport
import Testing

@Suite struct ScorerSpeedTests {
    @Test func `about one in eight of the rules fires on the features that are measured with`() throws {
        for (H, k) in [(512, 320), (256, 64)] {
            let rules = try ScorerSpeed.sampleRules(count: H, featureCount: k)
            let bids = try ReferenceScorer(rules).allBids(ScorerSpeed.sampleFeatures(count: 64 * k), rules)
            let share = Double(bids.filter { $0 > 0 }.count) / Double(bids.count)
            #expect((0.1...0.15).contains(share), "\(share)")
        }
    }

    @Test func `a measurement ends with the error of a scorer that cannot go on`() throws {
        struct Refusing: BidScorer {
            let numerics = "none"
            func makeSession() throws(ScoringError) -> any BidSession { throw .noDriver }
        }
        let rules = try ScorerSpeed.sampleRules(count: 2, featureCount: 3)
        #expect(throws: ScoringError.noDriver) {
            _ = try ScorerSpeed.textsPerSecond(
                Refusing(), rules, batch: 1, rounds: 1, roundDuration: .zero)
        }
        let rate = try ScorerSpeed.textsPerSecond(
            ReferenceScorer(rules), rules, batch: 3, rounds: 1, roundDuration: .milliseconds(1))
        #expect(rate > 3 && rate.isFinite)
    }
}
