/// The numbers of a fit. The defaults are those of the shipped model; docs/quality.md says what others gave.
package struct FittingOptions: Sendable, Equatable {
    /// Length of the fitted vectors: a multiple of 16.
    package var dimensions = 256
    package var vocabularyCount = 32_000
    package var epochCount = 4
    /// Texts a step.
    package var batchCount = 512
    /// Adam's rate at its highest: it rises over the first steps and falls with a cosine to 0.
    package var rate: Float = 0.002
    package var beta1: Float = 0.9
    package var beta2: Float = 0.999
    /// λ: the weight of the differences between the model's and the teacher's similarities of neighbours.
    package var similarityWeight: Float = 10
    /// Neighbours a group, 1 … 16.
    package var groupCount = 11
    /// a of the start a/(a + frequency) · vector of the piece (algorithm.md, section 10).
    package var startFrequency = 1e-3
    /// Of ten thousand texts of the first file so many are kept aside.
    package var heldOutShare = 100
    package var seed: UInt64 = 1
    /// Threads to compute on. They do not change the result.
    package var threadCount = 2

    package init() {}

    /// Everything that the result depends on, as one line.
    package var summary: String {
        "dimensions \(dimensions), vocabulary \(vocabularyCount), epochs \(epochCount), batch \(batchCount), "
            + "rate \(rate), beta1 \(beta1), beta2 \(beta2), similarity weight \(similarityWeight), "
            + "group \(groupCount), start frequency \(startFrequency), held out \(heldOutShare), seed \(seed)"
    }

    package func validate() throws(FittingError) {
        guard dimensions > 0, dimensions % 16 == 0, dimensions <= 2_048 else {
            throw .options("the dimensions must be a multiple of 16 up to 2,048")
        }
        guard (1...16).contains(groupCount) else { throw .options("a group has 1 to 16 texts") }
        guard batchCount >= groupCount else { throw .options("a batch must hold a group of \(groupCount)") }
        guard epochCount > 0 else { throw .options("at least one epoch is needed") }
        guard (1...1_000).contains(heldOutShare) else { throw .options("1 to 1,000 of ten thousand can be held out") }
        guard (1...64).contains(threadCount) else { throw .options("1 to 64 threads are possible") }
        guard rate > 0, rate < 1, similarityWeight >= 0, similarityWeight.isFinite else {
            throw .options("the rate lies between 0 and 1, the similarity weight is not negative")
        }
    }
}

/// One file of texts and its teacher's vectors: row i belongs to line i; lines beyond the last row are not used.
package struct TeacherPair: Sendable {
    package var texts: String
    package var vectors: String
    /// One float32 a row that its int8 values are multiplied by.
    package var scales: String?

    package init(texts: String, vectors: String, scales: String? = nil) {
        self.texts = texts
        self.vectors = vectors
        self.scales = scales
    }
}
