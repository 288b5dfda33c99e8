/// How a lexicon is fitted. All but `threads` change the result.
package struct FitOptions: Sendable {
    package var dimensions = 256
    package var vocabularyCount = 32_000
    package var epochs = 6
    /// Texts a step.
    package var batch = 512
    /// Adam's step size for the rows (algorithm, section 9).
    package var rate: Float = 0.002
    package var warmUpSteps = 30
    package var beta1: Float = 0.9
    package var beta2: Float = 0.999
    package var seed: UInt64 = 1
    /// Texts that are never fitted; the best epoch is the one with the best mean cosine on them.
    package var heldOut = 4000
    /// The start weighs a piece's own vector by a / (a + frequency) (algorithm, section 10).
    package var smoothing = 1e-3
    /// Changes nothing but time: sums have a fixed order.
    package var threads = 2

    package init() {}

    /// What tells two fits apart, as provenance.
    var listing: [(key: String, value: String)] {
        [
            ("dimensions", "\(dimensions)"), ("vocabulary", "\(vocabularyCount)"), ("epochs", "\(epochs)"),
            ("batch", "\(batch)"), ("rate", "\(rate)"), ("warm-up", "\(warmUpSteps)"), ("beta1", "\(beta1)"),
            ("beta2", "\(beta2)"), ("seed", "\(seed)"), ("held-out", "\(heldOut)"), ("smoothing", "\(smoothing)"),
        ]
    }
}
