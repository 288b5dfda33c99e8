import Annealing
import Rules
import Testing

@Suite struct ScheduleTests {
    private func temperatures(_ schedule: CoolingSchedule, kept: [Float]) -> [Float] {
        kept.reduce(into: [schedule.start]) { $0.append(schedule.next(after: $0[$0.count - 1], kept: $1)) }
    }

    @Test func `temperatures fall to exactly 0`() {
        #expect(temperatures(.greedy, kept: [1]) == [0, 0])
        #expect(
            temperatures(.geometric(start: 4, factor: 0.5, floor: 1), kept: [1, 1, 1, 1]) == [4, 2, 1, 0, 0])
        #expect(
            temperatures(.adaptive(start: 4, acceptance: 0.5, floor: 0.95), kept: [1, 0.75, 0.5, 0])
                == [4, 2, 1, 0, 0])
        #expect(
            temperatures(.adaptive(start: 1, acceptance: 0.5, floor: 0.5), kept: [0.5, 0.25]) == [
                1, 0.9, 0.9 * 0.9,
            ])
    }

    /// Rules for `0 1` and `1 2`, the first worth more, on the text `0 1 2`.
    private func trace(_ options: AnnealingOptions) throws -> (
        sweeps: [AnnealingTrace.Sweep], outcome: AnnealingOutcome
    ) {
        let rules = try RuleSet(
            vocabularyCount: 3, phraseCount: 2,
            rules: [
                Rule(.adjacent(records: 0, 1), .replace, phrase: 0, worth: 3),
                Rule(.adjacent(records: 1, 2), .add, phrase: 1, worth: 2),
            ])
        var workspace = AnnealingWorkspace()
        workspace.trace = AnnealingTrace()
        let outcome = AnnealingCase(Annealer(rules: rules, options: options), [0, 1, 2]).run(
            using: &workspace
        ).outcome
        return (workspace.trace?.sweeps ?? [], outcome)
    }

    @Test func `a trace tells what each sweep did`() throws {
        let (sweeps, outcome) = try trace(AnnealingOptions(price: 0.5))
        let (first, second) = (RuleMatch(rule: 0, first: 0, last: 1), RuleMatch(rule: 1, first: 1, last: 2))
        #expect(outcome.stop == .settled && outcome.energy == Energy(-2.5) && outcome.sweeps == 1)
        #expect(outcome.matches == 2 && outcome.commits == 1 && outcome.reverts == 1)
        #expect(sweeps.map(\.energy) == [-2.5, -2.5] && sweeps.allSatisfy { $0.temperature == 0 })
        #expect(sweeps.map { $0.bids.map(\.match) } == [[first, second], [second]])
        #expect(sweeps.map { $0.bids.map(\.fate) } == [[.committed, .outbid], [.reverted]])
        #expect(sweeps.map { $0.bids.map(\.strength) } == [[3, 2], [2]])
        #expect(sweeps.map { $0.bids.map(\.priority) } == [[2.5, 1.5], [1.5]])
        #expect(sweeps.map { $0.bids.map(\.change) } == [[-2.5, 0], [1]])
        #expect(sweeps.map { $0.bids.map(\.evicted) } == [[[], []], [[first]]])
        #expect(sweeps.allSatisfy { $0.bids.allSatisfy { !$0.isWithdrawal } })
    }

    @Test func `a full queue keeps the best bids`() throws {
        var options = AnnealingOptions()
        options.limits.maximumBids = 1
        let sweeps = try trace(options).sweeps
        #expect(sweeps.map { $0.bids.map(\.match.rule) } == [[0], [1]])
    }

    @Test func `a rule that fired bids lower for a while`() throws {
        let (sweeps, _) = try trace(
            AnnealingOptions(
                schedule: .geometric(start: 1e-6, factor: 0.9, floor: 1e-7), price: 10, inhibition: 4,
                inhibitionDecay: 0.5, refraction: 0))
        // Nothing is kept at so low a temperature, so nothing fires.
        #expect(
            sweeps.allSatisfy {
                $0.bids.allSatisfy {
                    $0.fate == .reverted && abs($0.priority + 10 - Float($0.strength)) < 1e-3
                }
            })
        let hot = try trace(
            AnnealingOptions(
                schedule: .geometric(start: 1e6, factor: 1e-12, floor: 0), price: 10, inhibition: 4,
                inhibitionDecay: 0.5))
        // Whatever was kept when it was hot costs more than it brings: taking it back bids 7 or 8, less 4.
        let withdrawals = hot.sweeps.dropFirst().flatMap(\.bids).filter(\.isWithdrawal)
        #expect(!withdrawals.isEmpty)
        #expect(withdrawals.allSatisfy { abs($0.priority - (10 - Float($0.strength) - 4)) < 1e-3 })
    }

    @Test func `a place that was reverted rests`() throws {
        let sweeps = try trace(
            AnnealingOptions(
                schedule: .geometric(start: 0.01, factor: 0.999, floor: 0.005), price: 10, refraction: 3)
        ).sweeps
        #expect(sweeps.count > 12)
        for (number, sweep) in sweeps.prefix(12).enumerated() {
            #expect(sweep.bids.count == (number % 4 == 0 ? 2 : 0))
        }
    }
}
