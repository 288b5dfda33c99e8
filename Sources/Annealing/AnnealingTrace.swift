package import Rules

/// What happened, sweep by sweep: set `AnnealingWorkspace.trace` to an empty one to have it filled. Costs nothing when
/// there is none.
package struct AnnealingTrace: Sendable, Equatable {
    package enum Fate: String, Sendable {
        /// Not reached: a limit came first.
        case waiting
        /// A better bid of this sweep has a piece of it.
        case outbid
        case committed, reverted
    }

    package struct Bid: Sendable, Equatable {
        package var match: RuleMatch
        /// Whether an edit that stands bids to be taken back.
        package var isWithdrawal: Bool
        /// g + a · (context feature of the rule).
        package var strength: Double
        /// What the auction went by: what the edit brings, less inhibition, with the noise of the temperature.
        package var priority: Float
        package var fate = Fate.waiting
        /// Edits that had to give way, when it was tried.
        package var evicted: [RuleMatch] = []
        /// Energy difference, when it was tried.
        package var change = 0.0
    }

    package struct Sweep: Sendable, Equatable {
        package var temperature: Float
        /// In the order of the auction.
        package var bids: [Bid]
        /// After the sweep.
        package var energy: Double
    }

    package var sweeps: [Sweep] = []

    package init() {}
}

extension AnnealingWorkspace {
    /// Begins a sweep in the trace, with its sorted bids.
    mutating func traceBids() {
        guard trace != nil else { return }
        let bids = queue.bids.map { bid in
            let claim = claims[bid.match]
            return AnnealingTrace.Bid(
                match: claim.match, isWithdrawal: claim.isApplied, strength: claim.strength.value,
                priority: bid.priority)
        }
        trace?.sweeps.append(AnnealingTrace.Sweep(temperature: temperature, bids: bids, energy: energy.value))
    }

    /// What became of the bid in hand; before the proposal is committed or undone.
    mutating func traceFate(_ fate: AnnealingTrace.Fate) {
        guard trace != nil, let sweep = trace?.sweeps.indices.last else { return }
        trace?.sweeps[sweep].bids[queue.current].fate = fate
        guard fate != .outbid else { return }
        trace?.sweeps[sweep].bids[queue.current].evicted = applied.filter(\.isWithdrawn).map(\.match)
        trace?.sweeps[sweep].bids[queue.current].change = proposal.change.value
    }

    mutating func traceEnergy() {
        guard let sweep = trace?.sweeps.indices.last else { return }
        trace?.sweeps[sweep].energy = energy.value
    }
}
