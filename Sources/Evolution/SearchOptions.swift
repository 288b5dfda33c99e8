/// How rules are searched.
package struct SearchOptions: Sendable {
    package enum Method: String, Sendable, CaseIterable {
        /// Islands of rule sets that are mutated, crossed and selected.
        case evolution
        /// Forward selection: the rule that gains most is added, again and again.
        case greedy
    }

    package var method = Method.evolution
    package var seed: UInt64 = 1
    package var rounds = 40
    /// Ends the search after the round in which the process has used so many seconds of its processors; 0: no limit.
    package var processorSeconds = 0

    /// Patterns that the search chooses from.
    package var candidateCount = 16_384
    /// Texts that must hold a pattern.
    package var minimumCount = 20
    /// κ: what a pattern in n texts is worth is multiplied by n/(n + κ).
    package var shrinkage: Float = 20
    /// How many times chance a pattern's squared mean must be to become a candidate: |Σg|² over Σ|g|².
    package var evidence: Float = 1.5

    package var islandCount = 4
    /// Individuals an island.
    package var populationCount = 6
    /// Children an island and step.
    package var broodCount = 2
    /// Steps a round; between rounds individuals migrate.
    package var stepCount = 4
    /// Rules that are tried in a mutation.
    package var trialCount = 256
    /// A mutation may lose so much of mean cosine, times −ln of a random number, divided by the round.
    package var heat = 1e-7
    /// Individuals that a parent is the best of.
    package var tournamentCount = 3
    /// Every so many rounds the vectors of the rules are computed anew, with the best rule set in force.
    package var refitRounds = 10
    /// Rules that one round of forward selection adds; the founders of an island differ by so many.
    package var additionCount = 1_024

    /// What a megabyte of rules, and a microsecond a text, must bring in mean cosine.
    package var bytePrice = 0.0001
    package var timePrice = 0.0001
    package var threadCount = 2

    package init() {}

    /// Everything that the result depends on but the texts, the number of rounds and what ends them.
    var summary: String {
        "\(method.rawValue), candidates \(candidateCount), minimum count \(minimumCount), shrinkage \(shrinkage), "
            + "evidence \(evidence), refit every \(refitRounds), byte price \(bytePrice), time price \(timePrice), "
            + "additions \(additionCount)"
            + (method == .greedy
                ? ""
                : ", islands \(islandCount) of \(populationCount), brood \(broodCount), steps \(stepCount), trials \(trialCount), "
                    + "tournament \(tournamentCount), heat \(heat)")
    }
}
