/// How fast a search goes since it was begun or gone on with, and how long it may still take.
package struct SearchPace: Sendable, Equatable {
    /// Where a search stands at a time.
    package struct Mark: Sendable {
        package var round: Int
        package var trialCount: Int
        /// Of the clock, from any beginning.
        package var seconds: Double
        /// Of all processors, those of interrupted runs too.
        package var processorSeconds: Double

        package init(round: Int, trialCount: Int, seconds: Double, processorSeconds: Double) {
            (self.round, self.trialCount, self.seconds, self.processorSeconds) = (round, trialCount, seconds, processorSeconds)
        }
    }

    /// Rules tried in a second.
    package let trialsPerSecond: Double
    /// To the last round or to the limit of processor time, what comes first, if all goes on as it went; 0 at the end.
    package let secondsLeft: Double

    /// - Parameters:
    ///   - roundCount: rounds in all.
    ///   - processorLimit: seconds of processors; 0: none.
    package init(from begin: Mark, to now: Mark, roundCount: Int, processorLimit: Int) {
        let seconds = max(now.seconds - begin.seconds, 1e-9)
        trialsPerSecond = Double(now.trialCount - begin.trialCount) / seconds
        let rounds = max(now.round - begin.round, 1)
        var left = seconds / Double(rounds) * Double(max(0, roundCount - now.round))
        let used = now.processorSeconds - begin.processorSeconds
        if processorLimit > 0, used > 0 {
            left = min(left, max(0, Double(processorLimit) - now.processorSeconds) * seconds / used)
        }
        secondsLeft = left
    }
}
