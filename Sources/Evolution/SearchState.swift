import Fitting

/// What a search computes fitness from, besides the texts: it changes only when vectors are refitted.
struct SearchState: Sendable {
    var pool: CandidatePool
    /// Texts that give vectors, and texts that decide.
    var fitting: Landscape
    var selecting: Landscape
    var costs: CostModel

    func individual(_ genome: Genome, foldCount: Int) -> Individual {
        Individual(genome, in: selecting, pool, foldCount: foldCount)
    }
}
