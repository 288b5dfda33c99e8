/// A rule set with its fitness, text by text.
package struct Individual: Sendable {
    private(set) var genome: Genome
    /// Of each text, in units of `TextScore.unit`.
    private var cosines: [Int32]
    private var edits: [UInt8]
    /// Σ of the cosines of the texts of each fold.
    private(set) var sums: [Int64]
    private(set) var editCount = 0
    private(set) var familyCounts: [Int]
    private(set) var byteCount = 0
    /// Names the individual; a parent's is smaller.
    var birth = Birth()

    /// How an individual came to be.
    struct Birth: Sendable, Equatable {
        var number = 0
        var parents: [Int] = []
        var operation = Operation.founded
        var round = 0
        var island = 0
        /// As it was then, under the vectors of that time.
        var cosine = 0.0
        var ruleCount = 0
    }

    package enum Operation: UInt8, Sendable, CaseIterable {
        case founded, mutated, crossed, tuned, migrated, selected
    }

    /// Scored on all texts.
    init(_ genome: Genome, in landscape: Landscape, _ pool: CandidatePool, foldCount: Int) {
        self.genome = genome
        cosines = [Int32](repeating: 0, count: landscape.count)
        edits = [UInt8](repeating: 0, count: landscape.count)
        sums = [Int64](repeating: 0, count: foldCount)
        familyCounts = RuleFamily.allCases.map { _ in 0 }
        for candidate in genome.candidates {
            familyCounts[pool.families[candidate].rawValue] += 1
            byteCount += pool.byteCounts[candidate]
        }
        score(in: landscape, pool)
    }

    /// Scores all texts anew.
    mutating func score(in landscape: Landscape, _ pool: CandidatePool) {
        var memory = Auction()
        sums = sums.map { _ in 0 }
        editCount = 0
        for text in 0..<landscape.count {
            let score = landscape.score(text, genome, pool, &memory)
            (cosines[text], edits[text]) = (score.cosine, score.editCount)
            sums[text % sums.count] += Int64(score.cosine)
            editCount += Int(score.editCount)
        }
    }

    /// The same rules with other knobs.
    mutating func retune(in landscape: Landscape, _ pool: CandidatePool, _ change: (inout Genome) -> Void) {
        change(&genome)
        score(in: landscape, pool)
    }

    var ruleCount: Int { familyCounts.reduce(0, +) }

    /// The mean cosine, without the texts of one fold if one is given.
    func cosine(without fold: Int? = nil) -> Double {
        let count = cosines.count
        guard let fold else { return mean(sums.reduce(0, +), count) }
        return mean(sums.reduce(0, +) - sums[fold], count - textCount(fold))
    }

    func cosine(of fold: Int) -> Double { mean(sums[fold], textCount(fold)) }

    private func textCount(_ fold: Int) -> Int { (cosines.count + sums.count - 1 - fold) / sums.count }

    private func mean(_ sum: Int64, _ count: Int) -> Double { Double(sum) * TextScore.unit / Double(max(1, count)) }

    var editsPerText: Double { Double(editCount) / Double(max(1, cosines.count)) }

    /// What flipping a candidate would change.
    struct Change {
        fileprivate var scores: [TextScore] = []
        fileprivate var sums: [Int64] = []
        fileprivate(set) var editCount = 0
        fileprivate(set) var byteCount = 0
        /// Of the mean cosine; without the texts of a fold, if one was given.
        fileprivate(set) var cosine = 0.0
    }

    /// What adding or dropping a candidate changes: only texts that hold it are scored.
    mutating func change(
        flipping candidate: Int, in landscape: Landscape, _ pool: CandidatePool, without fold: Int?, _ memory: inout Auction,
        into change: inout Change
    ) {
        change.scores.removeAll(keepingCapacity: true)
        change.sums = sums
        change.editCount = 0
        change.byteCount = genome.contains(candidate) ? -pool.byteCounts[candidate] : pool.byteCounts[candidate]
        genome.flip(candidate)
        for text in landscape.texts(holding: candidate) {
            let score = landscape.score(Int(text), genome, pool, &memory)
            change.scores.append(score)
            change.sums[Int(text) % sums.count] += Int64(score.cosine) - Int64(cosines[Int(text)])
            change.editCount += Int(score.editCount) - Int(edits[Int(text)])
        }
        genome.flip(candidate)
        var (difference, count) = (Int64(0), cosines.count)
        for index in sums.indices where index != fold { difference += change.sums[index] - sums[index] }
        if let fold { count -= textCount(fold) }
        change.cosine = mean(difference, count)
    }

    mutating func apply(_ change: Change, flipping candidate: Int, in landscape: Landscape, _ pool: CandidatePool) {
        familyCounts[pool.families[candidate].rawValue] += genome.contains(candidate) ? -1 : 1
        genome.flip(candidate)
        sums = change.sums
        editCount += change.editCount
        byteCount += change.byteCount
        for (text, score) in zip(landscape.texts(holding: candidate), change.scores) {
            (cosines[Int(text)], edits[Int(text)]) = (score.cosine, score.editCount)
        }
    }
}

/// What rules cost: bytes, and an estimate of the time a text, from the edits that they make.
struct CostModel: Sendable, Equatable {
    /// Of mean cosine, a megabyte and a microsecond.
    var bytePrice: Double
    var timePrice: Double

    /// What an edit takes from the mean cosine that the products do not show (`RuleSearch.moveBases`), an edit a text.
    var slip = 0.0

    /// Microseconds that the first rule adds to a text, as all are scanned then, and that an edit adds: measured of 700 to
    /// 6,600 rules with 1.1 to 3.6 edits a text (docs/evolution.md).
    static let scan = 0.1
    static let edit = 0.9

    static func microseconds(ruleCount: Int, editsPerText: Double) -> Double {
        ruleCount == 0 ? 0 : scan + edit * editsPerText
    }

    func fitness(_ individual: Individual, without fold: Int? = nil) -> Double {
        individual.cosine(without: fold) - price(individual.byteCount, individual.ruleCount, individual.editsPerText)
    }

    func price(_ bytes: Int, _ rules: Int, _ editsPerText: Double) -> Double {
        bytePrice * Double(bytes) / 1e6 + timePrice * Self.microseconds(ruleCount: rules, editsPerText: editsPerText)
            + slip * editsPerText
    }

    /// What a change adds to the fitness of a set that has rules already.
    func worth(_ change: Individual.Change, textCount: Int) -> Double {
        change.cosine - bytePrice * Double(change.byteCount) / 1e6
            - (timePrice * Self.edit + slip) * Double(change.editCount) / Double(textCount)
    }
}
