import Glibc
import Programs
import Rules
import Vectors

/// Applying, evaluating, committing and reverting.
extension Annealer {
    /// Makes the edit of a bid, after taking back what stands in its way. False when a winner of this sweep has a piece
    /// of its place, or when the program must not grow: then nothing is changed.
    func apply(_ bid: Bid, to stream: inout ProgramStream, _ workspace: inout AnnealingWorkspace) -> Bool {
        let claim = workspace.claims[bid.match]
        let edit = rules.edit(of: claim.match.rule)
        workspace.fuel -= 1 + workspace.applied.count / 4
        guard !workspace.winners.contains(where: { $0.overlaps(claim.match) }) else {
            workspace.traceFate(.outbid)
            return false
        }
        if edit == .add, !claim.isApplied, stream.addedCount >= options.limits.maximumAdded {
            workspace.leftOutItems = true
            return false
        }
        workspace.proposal = AnnealingWorkspace.Proposal(
            claim: bid.match, mark: workspace.journal.count, isPossible: true, change: .zero)
        if claim.isApplied {
            let own = workspace.applied.firstIndex { $0.claim == bid.match } ?? 0
            withdraw(overlapping: claim.match, from: own, addsOnly: false, &stream, &workspace)
            return true
        }
        let isVisible = rules.items(of: claim.match, in: stream) != nil
        withdraw(overlapping: claim.match, from: 0, addsOnly: isVisible, &stream, &workspace)
        guard let items = rules.items(of: claim.match, in: stream) else {
            workspace.proposal.isPossible = false
            return true
        }
        let entry = workspace.journal.count
        let record = rules.record(of: claim.match.rule)
        switch edit {
        case .replace: workspace.journal.replace(items, by: record, in: &stream)
        case .add:
            workspace.journal.add(record, first: claim.match.first, last: claim.match.last, to: &stream)
        }
        workspace.applied.append(
            AppliedEdit(match: claim.match, strength: claim.strength, claim: bid.match, entry: entry))
        workspace.proposal.change += price - claim.strength
        return true
    }

    /// Takes back the edits from index `from` on that share a piece with a match, the last one first: what stands on
    /// an edit was made after it and has all of its pieces.
    private func withdraw(
        overlapping match: RuleMatch, from: Int, addsOnly: Bool, _ stream: inout ProgramStream,
        _ workspace: inout AnnealingWorkspace
    ) {
        for index in (from..<workspace.applied.count).reversed() {
            let edit = workspace.applied[index]
            let kind = rules.edit(of: edit.match.rule)
            guard edit.match.overlaps(match), !addsOnly || kind == .add else { continue }
            let place: Int?
            switch kind {
            case .replace: place = stream.bodyItem(beginningAt: edit.match.first)
            case .add:
                let record = rules.record(of: edit.match.rule)
                place = (stream.bodyCount..<stream.count).first {
                    stream.operands[$0] == record && stream.firsts[$0] == edit.match.first
                        && stream.lasts[$0] == edit.match.last
                }
            }
            guard let place else { preconditionFailure("an edit that stands has left no item") }
            workspace.journal.withdraw(edit.entry, at: place, from: &stream)
            workspace.applied[index].isWithdrawn = true
            workspace.proposal.change += edit.strength - price
        }
    }

    /// Metropolis: what lowers the energy is kept, what raises it by ΔE with probability exp(−ΔE/T).
    func isKept(_ proposal: AnnealingWorkspace.Proposal, _ workspace: AnnealingWorkspace) -> Bool {
        guard proposal.isPossible else { return false }
        if proposal.change < .zero { return true }
        guard workspace.temperature > 0 else { return false }
        var random = workspace.randomSource(workspace.claims[proposal.claim].match, 1)
        return Double(random.unitFloat()) < exp(-proposal.change.value / Double(workspace.temperature))
    }

    func commit(_ stream: ProgramStream, _ workspace: inout AnnealingWorkspace) {
        let match = workspace.claims[workspace.proposal.claim].match
        workspace.traceFate(.committed)
        workspace.energy += workspace.proposal.change
        let isNew = !workspace.claims[workspace.proposal.claim].isApplied
        // What is added stands outside the body: patterns cannot see it.
        if rules.edit(of: match.rule) == .replace { workspace.markChanged(match) }
        for edit in workspace.applied where edit.isWithdrawn {
            workspace.claims[edit.claim].isApplied = false
            if rules.edit(of: edit.match.rule) == .replace { workspace.markChanged(edit.match) }
        }
        workspace.applied.removeAll(where: \.isWithdrawn)
        if isNew {
            workspace.claims[workspace.proposal.claim].isApplied = true
            if options.inhibition > 0 { workspace.noteFired(match.rule) }
        }
        workspace.winners.append(match)
        workspace.commits += 1
        workspace.tried += 1
        workspace.kept += 1
        if workspace.temperature > 0, workspace.energy < workspace.bestEnergy { workspace.keepBest(stream) }
        assert(stream.problem(recordCount: rules.recordCount, pieceCount: workspace.pieceCount) == nil)
    }

    func revert(_ stream: inout ProgramStream, _ workspace: inout AnnealingWorkspace) {
        workspace.traceFate(.reverted)
        workspace.journal.revert(to: workspace.proposal.mark, in: &stream)
        if let last = workspace.applied.last, last.entry >= workspace.proposal.mark {
            workspace.applied.removeLast()
        }
        for index in workspace.applied.indices { workspace.applied[index].isWithdrawn = false }
        let claim = workspace.proposal.claim
        workspace.claims[claim].isStale = !workspace.proposal.isPossible
        workspace.claims[claim].restsUntil = workspace.sweep + 1 + options.refraction
        if workspace.temperature == 0 { workspace.claims[claim].settledAt = workspace.commits }
        workspace.reverts += 1
        workspace.tried += 1
        assert(stream.problem(recordCount: rules.recordCount, pieceCount: workspace.pieceCount) == nil)
    }
}
