import Dispatch
import Fitting

/// Forward selection, the control: adds the rule that gains most, then the next, until none gains.
///
/// What a rule gains is computed again when its turn comes, and the rule is taken if it still gains more than the next one
/// promises (Minoux' lazy evaluation).
struct ForwardSelection: Sendable {
    private(set) var individual: Individual
    /// Additions from one entry of the archive to the next.
    private static let archiveStep = 64
    /// Gains as they were when last computed, the greatest last; none for rules in force.
    private var queue: [(gain: Double, candidate: Int)] = []
    /// Rules whose gain was computed.
    private(set) var evaluationCount = 0

    private(set) var archive: Archive

    init(_ individual: Individual, archive: Archive = Archive(), evaluationCount: Int = 0) {
        self.individual = individual
        self.archive = archive
        self.evaluationCount = evaluationCount
    }

    /// Computes the gains of all rules not in force that are open to it; to be called after vectors changed.
    mutating func survey(_ state: SearchState, threadCount: Int, isOpen: @Sendable (Int) -> Bool = { _ in true }) {
        let (start, pool) = (individual, state.pool)
        let gains = Slots<[(gain: Double, candidate: Int)]>(count: threadCount)
        DispatchQueue.concurrentPerform(iterations: threadCount) { thread in
            var (individual, memory, change) = (start, Auction(), Individual.Change())
            gains[thread] = stride(from: thread, to: pool.count, by: threadCount).compactMap { candidate in
                guard isOpen(candidate), !individual.genome.contains(candidate) else { return nil }
                individual.change(flipping: candidate, in: state.selecting, pool, without: nil, &memory, into: &change)
                let gain = state.costs.worth(change, textCount: state.selecting.count)
                return gain > 0 ? (gain, candidate) : nil
            }
        }
        queue = gains.values.flatMap { $0 ?? [] }.sorted(by: Self.ascends)
        evaluationCount += (0..<pool.count).count { isOpen($0) && !start.genome.contains($0) }
    }

    private static func ascends(_ a: (gain: Double, candidate: Int), _ b: (gain: Double, candidate: Int)) -> Bool {
        (a.gain, b.candidate) < (b.gain, a.candidate)
    }

    /// Adds up to `count` rules, fewer when no more gain.
    mutating func add(_ count: Int, _ state: SearchState, round: Int) {
        var (memory, change) = (Auction(), Individual.Change())
        var added = 0
        while added < count, let best = queue.popLast() {
            individual.change(flipping: best.candidate, in: state.selecting, state.pool, without: nil, &memory, into: &change)
            evaluationCount += 1
            let gain = state.costs.worth(change, textCount: state.selecting.count)
            guard gain > 0 else { continue }
            if let next = queue.last, Self.ascends((gain, best.candidate), next) {
                insert((gain, best.candidate))
                continue
            }
            individual.apply(change, flipping: best.candidate, in: state.selecting, state.pool)
            added += 1
            individual.birth.number += 1
            (individual.birth.operation, individual.birth.round) = (.selected, round)
            if individual.ruleCount % Self.archiveStep == 0 { archive.insert(Archive.Entry(individual)) }
        }
        archive.insert(Archive.Entry(individual))
    }

    private mutating func insert(_ item: (gain: Double, candidate: Int)) {
        var (low, high) = (0, queue.count)
        while low < high {
            let middle = (low + high) / 2
            if Self.ascends(queue[middle], item) { low = middle + 1 } else { high = middle }
        }
        queue.insert(item, at: low)
    }

    /// Scores everything under other vectors.
    mutating func rescore(_ state: SearchState) {
        individual.score(in: state.selecting, state.pool)
        let entries = archive.ordered.map(\.entry)
        archive.removeAll()
        for entry in entries {
            var other = state.individual(entry.genome, foldCount: 1)
            other.birth = entry.birth
            archive.insert(Archive.Entry(other))
        }
        archive.insert(Archive.Entry(individual))
    }
}
