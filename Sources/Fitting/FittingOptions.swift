package import Bytes
package import Programs

/// The numbers of a fit. The defaults are those of the shipped model; docs/quality.md says what others gave.
package struct FittingOptions: Sendable, Equatable {
    package var shape = ModelShape(
        dimensions: 256, contextRank: 128, neighbourRank: 16, couplingCount: 32, ruleCount: 1_024)
    package var vocabularyCount = 32_000
    package var epochCount = 5
    /// Texts a step.
    package var batchCount = 512
    /// Adam's rate at its highest: it rises over the first steps and falls with a cosine to 0.
    package var rate: Float = 0.004
    /// The same for the parts that all texts share.
    package var denseRate: Float = 0.0015
    package var beta1: Float = 0.9
    package var beta2: Float = 0.999
    /// λ: the weight of the differences between the model's and the teacher's similarities of neighbours.
    package var similarityWeight: Float = 6
    /// Neighbours a group, 1 … 16; 1 draws texts one by one.
    package var groupCount = 11
    /// a of the start a/(a + frequency) · vector of the piece (algorithm.md, section 10).
    package var startFrequency = 1e-3
    /// Each text is fitted at a temperature of the gates drawn between these, evenly in its logarithm.
    package var lowestTemperature: Float = 1.2
    package var highestTemperature: Float = 2.4
    /// The temperature that the model says to use: held-out scores are taken at it.
    package var temperature: Float = 1.7
    /// The last epochs compute with the numbers as the file will hold them.
    package var roundedEpochCount = 1
    /// Of ten thousand texts of the first file so many are kept aside.
    package var heldOutShare = 100
    /// Of ten thousand texts of every file so many are kept from the fit and from every choice: `TestTexts`, for a look at the
    /// end.
    package var testShare = 0
    /// Never fitted, never held out.
    package var excluded = ExcludedTexts()
    package var seed: UInt64 = 1
    /// Threads to compute on. They do not change the result.
    package var threadCount = 2

    package init() {}

    /// Texts a step: whole groups.
    package var stepTextCount: Int { batchCount / groupCount * groupCount }

    /// Everything that the result depends on, as one line.
    package var summary: String {
        shape.summary + ", vocabulary \(vocabularyCount), epochs \(epochCount), rounded \(roundedEpochCount), "
            + "batch \(batchCount), rate \(rate), dense rate \(denseRate), "
            + "temperature \(lowestTemperature) to \(highestTemperature), shipped \(temperature), "
            + "beta1 \(beta1), beta2 \(beta2), similarity weight \(similarityWeight), "
            + "group \(groupCount), start frequency \(startFrequency), held out \(heldOutShare), seed \(seed)"
            + (testShare > 0 ? ", kept for the end \(testShare)" : "")
            + excluded.summary
    }

    package static func validate(vocabularyCount: Int) throws(FittingError) {
        guard (260...1_000_000).contains(vocabularyCount) else {
            throw .options(
                "a vocabulary of \(vocabularyCount) pieces is not possible: bytes and controls alone are 260, and "
                    + "1,000,000 is the most")
        }
    }

    package func validate() throws(FittingError) {
        if let problem = shape.problem { throw .options(problem) }
        guard (1...16).contains(groupCount) else { throw .options("a group has 1 to 16 texts") }
        guard batchCount >= groupCount else { throw .options("a batch must hold a group of \(groupCount)") }
        guard (1...10_000).contains(epochCount) else { throw .options("1 to 10,000 epochs are possible") }
        try Self.validate(vocabularyCount: vocabularyCount)
        guard (1...1_000).contains(heldOutShare) else { throw .options("1 to 1,000 of ten thousand can be held out") }
        guard (0...5_000).contains(testShare) else { throw .options("0 to 5,000 of ten thousand can be kept for the end") }
        guard (1...64).contains(threadCount) else { throw .options("1 to 64 threads are possible") }
        guard lowestTemperature >= 0.25, highestTemperature <= 16, lowestTemperature <= highestTemperature,
            (0.25...16).contains(temperature)
        else {
            throw .options("the temperatures lie between 0.25 and 16, the lower one first")
        }
        guard (0...epochCount).contains(roundedEpochCount) else {
            throw .options("at most all \(epochCount) epochs can be rounded ones")
        }
        guard rate > 0, rate < 1, denseRate > 0, denseRate < 1, similarityWeight >= 0, similarityWeight.isFinite else {
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

extension FittingOptions {
    /// Whether a fit keeps a line of its first pair aside: `heldOutShare` of 10,000 lines, by the CRC-32 of their bytes (the
    /// rule of scripts/teacher/perturb.py).
    package func holdsOut(_ line: Int, of lines: TextLines) -> Bool {
        share(line, of: lines) < heldOutShare
    }

    /// Whether a line is kept for the end. None of these is held out, and equal lines are all kept or none is.
    package func keepsForTheEnd(_ line: Int, of lines: TextLines) -> Bool {
        share(line, of: lines) >= 10_000 - testShare
    }

    /// What becomes of a line of a file that is fitted.
    func use(of line: Int, of lines: TextLines, isFirstFile: Bool) -> TrainingTexts.Use {
        if excluded.contains(lines[line]) { return .leaveOut }
        if keepsForTheEnd(line, of: lines) { return .keep }
        return isFirstFile && holdsOut(line, of: lines) ? .holdOut : .fit
    }

    private func share(_ line: Int, of lines: TextLines) -> Int {
        let value = lines.bytes[lines.range(line)].withUnsafeBytes { crc32($0, seed: UInt32(truncatingIfNeeded: seed)) }
        return Int(value % 10_000)
    }
}
