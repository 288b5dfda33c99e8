import Evolution
import Testing

@Suite struct SearchPaceTests {
    private func pace(_ round: Int, after seconds: Double, processors: Double, from begin: Int = 0, limit: Int = 0) -> SearchPace {
        SearchPace(
            from: .init(round: begin, trialCount: 1_000, seconds: 5, processorSeconds: 100),
            to: .init(round: round, trialCount: 4_000, seconds: 5 + seconds, processorSeconds: 100 + processors),
            roundCount: 40, processorLimit: limit)
    }

    @Test func `what is left are the rounds that are left, at the pace since the search was gone on with`() {
        #expect(pace(10, after: 60, processors: 120) == pace(10, after: 60, processors: 0))
        #expect(pace(10, after: 60, processors: 120).trialsPerSecond == 50)
        #expect(pace(10, after: 60, processors: 120).secondsLeft == 180)
        #expect(pace(30, after: 60, processors: 120, from: 20).secondsLeft == 60)
        #expect(pace(40, after: 60, processors: 120, from: 20).secondsLeft == 0)
    }

    @Test func `a limit of processor time that comes first ends the search before its last round`() {
        // Two processors at work: 80 seconds of them are 40 of the clock.
        #expect(pace(10, after: 60, processors: 120, limit: 300).secondsLeft == 40)
        #expect(pace(10, after: 60, processors: 120, limit: 3_000).secondsLeft == 180)
        #expect(pace(10, after: 60, processors: 120, limit: 200).secondsLeft == 0)
    }
}
