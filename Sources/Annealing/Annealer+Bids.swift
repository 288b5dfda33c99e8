import Glibc
import Programs
import Rules
import Vectors

/// Scanning and bidding.
extension Annealer {
    /// Finds matches: everywhere at first, later near what changed. Known ones may bid again.
    func scan(_ stream: ProgramStream, _ context: Span<Float>, _ workspace: inout AnnealingWorkspace) {
        if workspace.sweep > 0, workspace.changed == nil { return }
        workspace.found.removeAll(keepingCapacity: true)
        rules.appendMatches(
            in: stream, anchors: itemsToScan(stream, workspace), maximumCount: options.limits.maximumMatches,
            fuel: &workspace.fuel, to: &workspace.found)
        workspace.changed = nil
        for match in workspace.found {
            if workspace.sweep > 0 {
                workspace.fuel -= 1 + workspace.claims.count / 16
                if let known = workspace.claims.firstIndex(where: { $0.match == match }) {
                    workspace.claims[known].isStale = false
                    continue
                }
            }
            guard workspace.claims.count < options.limits.maximumMatches else {
                workspace.leftOutMatches = true
                continue
            }
            let strength = strength(of: match.rule, context, &workspace)
            workspace.claims.append(AnnealingWorkspace.Claim(match: match, strength: strength))
        }
    }

    private func strength(
        of rule: UInt32, _ context: Span<Float>, _ workspace: inout AnnealingWorkspace
    ) -> Energy {
        let facts = rules.facts[Int(rule)]
        guard facts.looksAtContext else { return Energy(facts.worth) }
        return workspace.scores.strength(of: rule) { Energy(rules.strength(of: Int(rule), context: context)) }
    }

    private func itemsToScan(_ stream: ProgramStream, _ workspace: AnnealingWorkspace) -> Range<Int> {
        if workspace.sweep == 0 { return 0..<stream.bodyCount }
        guard let changed = workspace.changed else { return 0..<0 }
        let body = 0..<stream.bodyCount
        let first = body.partitioningIndex { stream.placements[$0].last >= changed.lowerBound }
        let end = body.partitioningIndex { stream.placements[$0].first > changed.upperBound }
        return max(0, first - rules.reach)..<min(body.upperBound, end + rules.reach)
    }

    func bid(_ workspace: inout AnnealingWorkspace) {
        workspace.queue.begin(capacity: options.limits.maximumBids)
        workspace.winners.removeAll(keepingCapacity: true)
        (workspace.tried, workspace.kept, workspace.resting) = (0, 0, 0)
        workspace.fuel -= workspace.claims.count
        for index in workspace.claims.indices {
            let claim = workspace.claims[index]
            if claim.isStale { continue }
            let gain = claim.isApplied ? price - claim.strength : claim.strength - price
            if gain <= .zero, claim.isApplied || workspace.temperature == 0 { continue }
            if claim.settledAt == workspace.commits { continue }
            if workspace.sweep < claim.restsUntil {
                workspace.resting += 1
                continue
            }
            if options.inhibition > 0 { workspace.fuel -= 1 + workspace.fired.count / 16 }
            var priority = Float(gain.value) - inhibition(of: claim.match.rule, workspace)
            if workspace.temperature > 0 { priority += workspace.temperature * noise(claim.match, workspace) }
            let place = (claim.match.first, claim.match.last, claim.match.rule)
            workspace.queue.insert(Bid(match: index, priority: priority, place: place))
        }
        workspace.queue.sort()
        workspace.traceBids()
    }

    /// A sample of the Gumbel distribution, −ln(−ln u): with T times as much added, the best of several bids is each
    /// with the probability of Boltzmann's distribution at T.
    private func noise(_ match: RuleMatch, _ workspace: AnnealingWorkspace) -> Float {
        var random = workspace.randomSource(match, 0)
        return -log(-log(random.unitFloat() + 0x1p-25))
    }

    private func inhibition(of rule: UInt32, _ workspace: AnnealingWorkspace) -> Float {
        guard options.inhibition > 0, let fired = workspace.fired.first(where: { $0.rule == rule }) else {
            return 0
        }
        return options.inhibition * pow(options.inhibitionDecay, Float(workspace.sweep - fired.sweep - 1))
    }
}

extension Range<Int> {
    /// The first index for which a condition holds that holds for all after it, or the end. Binary search.
    fileprivate func partitioningIndex(where holds: (Int) -> Bool) -> Int {
        var (low, high) = (lowerBound, upperBound)
        while low < high {
            let middle = (low + high) / 2
            if holds(middle) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
