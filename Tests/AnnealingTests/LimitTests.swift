import Annealing
import CAllocationCounter
import Programs
import Rules
import TestSupport
import Testing

@Suite struct LimitTests {
    /// Pairs of anything, replaced or added by many rules, at a temperature that hardly falls: edits push each other out
    /// without end.
    private func adversary(
        _ edits: [Edit] = Edit.allCases, _ change: (inout AnnealingOptions) -> Void = { _ in }
    ) throws -> AnnealingCase {
        let everything = PieceClass("all", 0..<20)
        let pair = Pattern.adjacent([.pieceClass(0), .pieceClass(0)])
        let rules = try RuleSet(
            vocabularyCount: 4, phraseCount: 16, classes: [everything],
            rules: edits.flatMap { edit in (0..<16).map { Rule(pair, edit, phrase: $0, worth: 1) } })
        var options = AnnealingOptions(schedule: .geometric(start: 4, factor: 0.999_999, floor: 0.001))
        options.limits.maximumSweeps = 1 << 40
        options.limits.maximumEdits = 1 << 40
        options.limits.maximumMatches = 1 << 40
        options.limits.maximumAdded = 1 << 40
        options.limits.fuel = 3_000_000
        change(&options)
        return AnnealingCase(Annealer(rules: rules, options: options), (0..<32).map { $0 % 4 })
    }

    @Test func `fuel ends what nothing else would`() throws {
        let outcome = try adversary().run().outcome
        #expect(outcome.stop == .fuelLimit && outcome.commits > 200, "\(outcome)")
        #expect(try adversary { $0.limits.fuel = 10 }.run().outcome.stop == .fuelLimit)
    }

    @Test func `each limit ends the loop, with its reason`() throws {
        let sweeps = try adversary { $0.limits.maximumSweeps = 7 }.run().outcome
        #expect(sweeps.stop == .sweepLimit && sweeps.sweeps == 7)
        let edits = try adversary { $0.limits.maximumEdits = 30 }.run().outcome
        #expect(edits.stop == .editLimit && edits.commits == 30)
        let matches = try adversary {
            $0.limits.maximumMatches = 50
            $0.schedule = .greedy
        }.run().outcome
        #expect(matches.stop == .matchLimit && matches.matches == 50)
        let growth = try adversary([.add]) {
            $0.limits.maximumAdded = 1
            $0.schedule = .greedy
        }
        let (stream, outcome) = growth.run()
        #expect(outcome.stop == .growthLimit && stream.addedCount == 1)
    }

    @Test func `no limit is ever passed`() {
        let failure = forAll(seed: 81, count: 300, maximumSize: 40) { size, random in
            var example = AnnealingCase(GeneratedRules(), size: size, using: &random)
            var options = example.annealer.options
            options.limits.maximumSweeps = Int.random(in: 1..<8, using: &random)
            options.limits.maximumEdits = Int.random(in: 1..<8, using: &random)
            options.limits.maximumMatches = Int.random(in: 1..<20, using: &random)
            options.limits.maximumBids = Int.random(in: 1..<8, using: &random)
            options.limits.maximumAdded = Int.random(in: 0..<4, using: &random)
            options.limits.fuel = Int.random(in: 1..<400, using: &random)
            example.annealer = Annealer(rules: example.annealer.rules, options: options, seed: random.next())
            return example
        } holds: { example in
            var workspace = AnnealingWorkspace()
            workspace.trace = AnnealingTrace()
            let (stream, outcome) = example.run(using: &workspace)
            let limits = example.annealer.options.limits
            return outcome.sweeps <= limits.maximumSweeps && outcome.commits <= limits.maximumEdits
                && outcome.matches <= limits.maximumMatches && stream.addedCount <= limits.maximumAdded
                && (workspace.trace?.sweeps ?? []).allSatisfy { $0.bids.count <= limits.maximumBids }
                && example.replay(workspace.applied.map(\.match))?.energy == outcome.energy
        }
        #expect(failure == nil)
    }

    @Test(arguments: AnnealingCase.schedules)
    func `annealing 1,000 texts allocates nothing once warm`(_ schedule: CoolingSchedule) {
        var random = SeededRandom(seed: 82)
        let generator = GeneratedRules()
        let rules = generator.ruleSet(size: 30, using: &random)
        let annealer = Annealer(rules: rules, options: AnnealingOptions(schedule: schedule, inhibition: 0.5))
        let texts = (0..<1000).map { _ in
            generator.text(size: Int.random(in: 1..<30, using: &random), using: &random)
        }
        let context = generator.context(using: &random)
        var workspace = AnnealingWorkspace()
        var stream = ProgramStream()
        var commits = 0
        func run() {
            for ids in texts {
                stream.load(ids: ids)
                commits += annealer.anneal(&stream, context: context.span, using: &workspace).commits
            }
        }
        let cold = sae_thread_allocations()
        run()
        #expect(sae_thread_allocations() > cold && commits > 1000)
        let before = sae_thread_allocations()
        run()
        #expect(sae_thread_allocations() == before)
    }
}
