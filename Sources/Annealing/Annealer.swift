package import Programs
package import Rules
import Vectors

/// What the loop does next.
enum Phase {
    case scanning, bidding, applying, evaluating, committing, reverting
}

/// Rewrites programs by rules that bid, are tried, and are kept or taken back (`algorithm.md`, section 6). Immutable, so
/// any number of threads may use it, each with a workspace.
///
/// The energy of a program is Σ (λ − bid) over the edits that stand. Edits do not overlap: a proposal whose place is
/// taken takes back what stands there, and the energy difference decides. An edit whose phrase became part of a larger
/// one stands below that and counts.
package struct Annealer: Sendable {
    package let rules: RuleSet
    package let options: AnnealingOptions
    /// Key of all randomness, together with the text's pieces, the sweep and the match.
    package let seed: UInt64
    let price: Energy
    /// One greedy sweep is all: what it left out overlaps a winner with no less gain (both exact as `Float`, so the queue
    /// compares the gains themselves), which would have to go; and what is added makes no new matches.
    private let settlesAtOnce: Bool
    private let random: CounterRandom

    package init(rules: RuleSet, options: AnnealingOptions = AnnealingOptions(), seed: UInt64 = 0) {
        self.rules = rules
        self.options = options
        self.seed = seed
        price = Energy(options.price)
        settlesAtOnce = options.schedule == .greedy && rules.onlyAddsWorths && abs(options.price) <= 0.5
        random = CounterRandom(seed)
    }

    /// Anneals a program as it was loaded; `context` is the text's context feature, of `rules.contextDimensions` numbers.
    /// Allocates nothing once the workspace has seen texts of this size. The result depends on nothing but the
    /// pieces, the context and the annealer.
    package func anneal(
        _ stream: inout ProgramStream, context: Span<Float>, using workspace: inout AnnealingWorkspace
    ) -> AnnealingOutcome {
        workspace.begin(stream, options, random: random)
        var phase = Phase.scanning
        while true {
            switch phase {
            case .scanning:
                scan(stream, context, &workspace)
                if workspace.claims.isEmpty, workspace.fuel > 0 {
                    return finish(.unmatched, &stream, &workspace)
                }
                phase = .bidding
            case .bidding:
                bid(&workspace)
                phase = .applying
            case .applying:
                if let limit = reachedLimit(workspace) { return finish(limit, &stream, &workspace) }
                if let bid = workspace.queue.popBest() {
                    let isTried = apply(bid, to: &stream, &workspace)
                    phase = isTried ? .evaluating : .applying
                } else if let reason = endSweep(&workspace) {
                    return finish(reason, &stream, &workspace)
                } else {
                    phase = .scanning
                }
            case .evaluating:
                phase = isKept(workspace.proposal, workspace) ? .committing : .reverting
            case .committing:
                commit(stream, &workspace)
                phase = .applying
            case .reverting:
                revert(&stream, &workspace)
                phase = .applying
            }
        }
    }

    private func reachedLimit(_ workspace: AnnealingWorkspace) -> StopReason? {
        if workspace.commits >= options.limits.maximumEdits { return .editLimit }
        return workspace.fuel <= 0 ? .fuelLimit : nil
    }

    /// Cools, or says why this was the last sweep.
    private func endSweep(_ workspace: inout AnnealingWorkspace) -> StopReason? {
        workspace.traceEnergy()
        let isQuiet = settlesAtOnce || (workspace.kept == 0 && workspace.resting == 0)
        if workspace.temperature == 0, isQuiet, workspace.queue.droppedCount == 0 {
            if workspace.leftOutItems { return .growthLimit }
            return workspace.leftOutMatches ? .matchLimit : .settled
        }
        workspace.sweep += 1
        if workspace.sweep >= options.limits.maximumSweeps { return .sweepLimit }
        let kept = workspace.tried == 0 ? 0 : Float(workspace.kept) / Float(workspace.tried)
        workspace.temperature = options.schedule.next(after: workspace.temperature, kept: kept)
        return nil
    }

    /// Goes back to the best program when a worse one stands.
    private func finish(
        _ reason: StopReason, _ stream: inout ProgramStream, _ workspace: inout AnnealingWorkspace
    ) -> AnnealingOutcome {
        if workspace.bestEnergy < workspace.energy {
            stream.copy(workspace.best)
            swap(&workspace.applied, &workspace.bestApplied)
            workspace.energy = workspace.bestEnergy
        }
        return AnnealingOutcome(
            stop: reason, energy: workspace.energy, sweeps: workspace.sweep, matches: workspace.claims.count,
            commits: workspace.commits, reverts: workspace.reverts)
    }
}
