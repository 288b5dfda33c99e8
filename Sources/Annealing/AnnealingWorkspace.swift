import Programs
package import Rules
import Vectors

/// An edit that stands.
package struct AppliedEdit: Sendable, Equatable {
    package var match: RuleMatch
    package var strength: Energy
    /// Index of the match.
    var claim: Int
    /// Its entry in the journal.
    var entry: Int
    /// Taken back by the proposal in hand.
    var isWithdrawn = false
}

/// All mutable memory of one annealing; belongs to one thread, used again from text to text.
package struct AnnealingWorkspace: Sendable {
    /// A match that was found, for as long as the text lasts.
    struct Claim {
        var match: RuleMatch
        var strength: Energy
        var isApplied = false
        /// Its items are not there at present, nor under edits that could be taken back.
        var isStale = false
        /// The first sweep in which it may bid again.
        var restsUntil = 0
        /// Commits at the time when it was reverted at temperature 0: until there is another, it would be again.
        var settledAt = -1
    }

    /// The change that is being tried.
    struct Proposal {
        var claim: Int
        /// Edits in the journal before it.
        var mark: Int
        var isPossible: Bool
        var change: Energy
        /// Edits that it takes back.
        var withdrawnCount = 0
    }

    /// Records what happens when there is one.
    package var trace: AnnealingTrace?
    /// The edits of the last text that stand, in the order in which they were made. Making them in this order on the
    /// program as it was loaded gives the annealed program.
    package internal(set) var applied: [AppliedEdit] = []

    var claims: [Claim] = []
    var found: [RuleMatch] = []
    var queue = BidQueue()
    var journal = EditJournal()
    var proposal = Proposal(claim: 0, mark: 0, isPossible: true, change: .zero)
    /// Places that bids of this sweep have won.
    var winners: [RuleMatch] = []
    /// Rules that fired, with the sweep in which they last did.
    var fired: [(rule: UInt32, sweep: Int)] = []
    var scores = ScoreCache()

    var best = ProgramStream()
    var bestApplied: [AppliedEdit] = []
    var bestEnergy = Energy.zero

    var pieceCount = 0
    var random = CounterRandom(0)
    var temperature: Float = 0
    var energy = Energy.zero
    var fuel = 0
    var sweep = 0
    /// Pieces under edits since the last scan.
    var changed: ClosedRange<UInt32>?
    /// No edit of this text has replaced anything so far.
    var isBodyAsLoaded = true
    var (commits, reverts) = (0, 0)
    /// Of this sweep.
    var (tried, kept, resting) = (0, 0, 0)
    var (leftOutMatches, leftOutItems) = (false, false)

    package init() {}

    mutating func begin(_ stream: ProgramStream, _ options: AnnealingOptions, random: CounterRandom) {
        if !claims.isEmpty {
            applied.removeAll(keepingCapacity: true)
            claims.removeAll(keepingCapacity: true)
            fired.removeAll(keepingCapacity: true)
        }
        journal.removeAll()
        scores.beginText()
        pieceCount = stream.bodyCount
        temperature = options.schedule.start
        (energy, bestEnergy) = (.zero, .zero)
        fuel = options.limits.fuel
        (sweep, commits, reverts) = (0, 0, 0)
        changed = nil
        isBodyAsLoaded = true
        (leftOutMatches, leftOutItems) = (false, false)
        guard temperature > 0 else { return }
        self.random = random
        for index in 0..<pieceCount { self.random = self.random.derived(UInt64(stream.operands[index])) }
        keepBest(stream)
    }

    /// Only above temperature 0 can a later program be worse.
    mutating func keepBest(_ stream: ProgramStream) {
        best.copy(stream)
        bestApplied.removeAll(keepingCapacity: true)
        bestApplied.append(contentsOf: applied)
        bestEnergy = energy
    }

    mutating func markChanged(_ match: RuleMatch) {
        changed =
            min(
                changed?.lowerBound ?? match.first, match.first)...max(
                changed?.upperBound ?? match.last, match.last)
    }

    mutating func noteFired(_ rule: UInt32) {
        if let known = fired.firstIndex(where: { $0.rule == rule }) {
            fired[known].sweep = sweep
        } else {
            fired.append((rule, sweep))
        }
    }

    /// Two random sources for a match in this sweep: for its bid, and for keeping it.
    func randomSource(_ match: RuleMatch, _ use: UInt64) -> CounterRandom {
        random.derived(UInt64(sweep)).derived(UInt64(match.rule)).derived(
            UInt64(match.first) << 32 | UInt64(match.last)
        )
        .derived(use)
    }
}

/// Bids of rules that look at the context, by rule and neighbourhood. All that such a bid depends on besides the rule
/// is the text's context feature, so the neighbourhood is the text: the same rule at other places and in later sweeps is
/// scored once. Direct-mapped.
struct ScoreCache: Sendable {
    private var entries = [(rule: UInt32, text: UInt64, strength: Energy)](
        repeating: (0, 0, .zero), count: 64)
    private var text: UInt64 = 0

    mutating func beginText() { text += 1 }

    mutating func strength(of rule: UInt32, or compute: () -> Energy) -> Energy {
        let slot = Int(rule) % entries.count
        if entries[slot].rule == rule, entries[slot].text == text { return entries[slot].strength }
        let strength = compute()
        entries[slot] = (rule, text, strength)
        return strength
    }
}
