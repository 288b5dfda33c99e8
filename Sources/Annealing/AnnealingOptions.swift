/// How a program is annealed; the same for all texts of a model.
package struct AnnealingOptions: Sendable {
    package var schedule: CoolingSchedule
    /// λ: what an edit must bring to be worth making.
    package var price: Float
    /// Taken from the priority of a rule's bids in the sweep after it fired, then multiplied by
    /// `inhibitionDecay` each sweep. It changes who bids first, never the energy.
    package var inhibition: Float
    package var inhibitionDecay: Float
    /// Sweeps for which a match that was reverted does not bid.
    package var refraction: Int
    package var limits: AnnealingLimits
    /// The program is validated after every rewrite, as debug builds always do.
    package var validates = false

    package init(
        schedule: CoolingSchedule = .greedy, price: Float = 0, inhibition: Float = 0,
        inhibitionDecay: Float = 0.5,
        refraction: Int = 2, limits: AnnealingLimits = AnnealingLimits()
    ) {
        self.schedule = schedule
        self.price = price
        self.inhibition = inhibition
        self.inhibitionDecay = inhibitionDecay
        self.refraction = refraction
        self.limits = limits
    }
}

/// What ends an annealing that would not end by itself. The defaults leave room for 512 pieces that all match.
package struct AnnealingLimits: Sendable, Hashable {
    package var maximumSweeps = 64
    /// Committed proposals.
    package var maximumEdits = 2048
    /// Different matches that are kept; later ones are not looked at.
    package var maximumMatches = 4096
    /// Bids of one sweep; the best are kept, the others may bid in the next.
    package var maximumBids = 1024
    /// Added items: what a program may grow by.
    package var maximumAdded = 256
    /// Steps: an item looked at, a rule tried, a bid scored, a proposal made.
    package var fuel = 200_000

    package init() {}
}

/// How the temperature falls. At 0 only what lowers the energy is kept.
package enum CoolingSchedule: Sendable, Hashable {
    /// 0 from the start.
    case greedy
    /// T ← T · factor each sweep; under `floor` it is 0.
    case geometric(start: Float, factor: Float, floor: Float)
    /// T falls fast while more than the share `acceptance` of the proposals of a sweep is kept, else slowly.
    case adaptive(start: Float, acceptance: Float, floor: Float)

    /// Chosen: halving leaves the hot phase, where nearly all is kept, in a few sweeps; 0.9 gives about 20 sweeps to
    /// each factor of 10 where choices are made.
    private static let (fast, slow): (Float, Float) = (0.5, 0.9)

    package var start: Float {
        switch self {
        case .greedy: 0
        case .geometric(let start, factor: _, floor: _): start
        case .adaptive(let start, acceptance: _, floor: _): start
        }
    }

    /// The temperature after a sweep at `temperature` that kept the share `kept` of its proposals.
    package func next(after temperature: Float, kept: Float) -> Float {
        let (next, floor): (Float, Float) =
            switch self {
            case .greedy: (0, 0)
            case .geometric(start: _, let factor, let floor): (temperature * factor, floor)
            case .adaptive(start: _, let acceptance, let floor):
                (temperature * (kept > acceptance ? Self.fast : Self.slow), floor)
            }
        return next < floor ? 0 : next
    }
}

/// Why an annealing ended.
package enum StopReason: String, Sendable, CaseIterable {
    /// No rule matches anything in the text.
    case unmatched
    /// The temperature is 0, and no bid lowers the energy.
    case settled
    case sweepLimit, editLimit, fuelLimit
    /// As `settled`, but matches were left out, or items could not be added.
    case matchLimit, growthLimit
}

/// How an annealing went.
package struct AnnealingOutcome: Sendable, Equatable {
    package var stop: StopReason
    /// Σ (λ − bid) of the edits that stand; 0 for a program as it was loaded.
    package var energy: Energy
    /// Sweeps that were finished: 0 where the first one was all, as a greedy one is.
    package var sweeps: Int
    package var matches: Int
    package var commits: Int
    package var reverts: Int
}
