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
        let facts = rules.facts[Int(claim.match.rule)]
        workspace.fuel -= 1 + workspace.applied.count / 4
        guard !workspace.winners.contains(where: { $0.overlaps(claim.match) }) else {
            workspace.traceFate(.outbid)
            return false
        }
        if case .add = facts.edit, !claim.isApplied, stream.addedCount >= options.limits.maximumAdded {
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
        let isVisible = items(of: claim.match, in: stream, workspace) != nil
        withdraw(overlapping: claim.match, from: 0, addsOnly: isVisible, &stream, &workspace)
        guard let items = items(of: claim.match, in: stream, workspace) else {
            workspace.proposal.isPossible = false
            return true
        }
        let entry = workspace.journal.count
        switch facts.edit {
        case .replace:
            workspace.journal.replace(items, by: facts.record, in: &stream)
            workspace.isBodyAsLoaded = false
        case .add:
            workspace.journal.add(facts.record, first: claim.match.first, last: claim.match.last, to: &stream)
        }
        workspace.applied.append(
            AppliedEdit(match: claim.match, strength: claim.strength, claim: bid.match, entry: entry))
        workspace.proposal.change += price - claim.strength
        return true
    }

    /// The items that a match covers, or nil when it does not hold. All that were found do while the body is as it was loaded.
    private func items(
        of match: RuleMatch, in stream: ProgramStream, _ workspace: AnnealingWorkspace
    ) -> Range<Int>? {
        workspace.isBodyAsLoaded ? Int(match.first)..<Int(match.last) + 1 : rules.items(of: match, in: stream)
    }

    /// Takes back the edits from index `from` on that share a piece with a match, the last one first: what stands on
    /// an edit was made after it and has all of its pieces.
    private func withdraw(
        overlapping match: RuleMatch, from: Int, addsOnly: Bool, _ stream: inout ProgramStream,
        _ workspace: inout AnnealingWorkspace
    ) {
        for index in (from..<workspace.applied.count).reversed() {
            let edit = workspace.applied[index]
            guard edit.match.overlaps(match) else { continue }
            let facts = rules.facts[Int(edit.match.rule)]
            let place: Int?
            switch facts.edit {
            case .replace where addsOnly: continue
            case .replace: place = stream.bodyItem(beginningAt: edit.match.first)
            case .add:
                place = (stream.bodyCount..<stream.count).first {
                    stream.operands[$0] == facts.record && stream.placements[$0].first == edit.match.first
                        && stream.placements[$0].last == edit.match.last
                }
            }
            guard let place else { preconditionFailure("an edit that stands has left no item") }
            workspace.journal.withdraw(edit.entry, at: place, from: &stream)
            workspace.applied[index].isWithdrawn = true
            workspace.proposal.withdrawnCount += 1
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
        if case .replace = rules.facts[Int(match.rule)].edit { workspace.markChanged(match) }
        if workspace.proposal.withdrawnCount > 0 { takeBack(&workspace) }
        if isNew {
            workspace.claims[workspace.proposal.claim].isApplied = true
            if options.inhibition > 0 { workspace.noteFired(match.rule) }
        }
        workspace.winners.append(match)
        workspace.commits += 1
        workspace.tried += 1
        workspace.kept += 1
        if workspace.temperature > 0, workspace.energy < workspace.bestEnergy { workspace.keepBest(stream) }
        validate(stream, pieceCount: workspace.pieceCount)
    }

    /// Gives up the edits that the proposal withdrew.
    private func takeBack(_ workspace: inout AnnealingWorkspace) {
        for edit in workspace.applied where edit.isWithdrawn {
            workspace.claims[edit.claim].isApplied = false
            if case .replace = rules.facts[Int(edit.match.rule)].edit { workspace.markChanged(edit.match) }
        }
        workspace.applied.removeAll(where: \.isWithdrawn)
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
        validate(stream, pieceCount: workspace.pieceCount)
    }

    private func validate(_ stream: ProgramStream, pieceCount: Int) {
        #if !DEBUG
            guard options.validates else { return }
        #endif
        let problem = stream.problem(recordCount: rules.recordCount, pieceCount: pieceCount)
        precondition(problem == nil, "a rewrite broke the program")
    }
}
