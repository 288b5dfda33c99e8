/// What was measured of a generation. It may be measured again; the generation stays what it is.
package struct Worth: Sendable, Equatable {
    /// When the generation was made, in milliseconds since 1970.
    package var madeMilliseconds: Int64
    /// By name, as `train-cosine`, `held-out-cosine`, `held-out-agreement`, `development`: letters, digits and `-`.
    package var scores: [String: Double]
    /// What the rules add to the model in memory; 0 if unknown.
    package var bytes: UInt64
    /// What a text costs with them, in microseconds of one core; 0 if unknown.
    package var microseconds: Double
    /// The vector that the model with these rules gives its own test text: what a start checks. Empty if unknown.
    package var testVector: [Float]

    package init(
        madeMilliseconds: Int64, scores: [String: Double] = [:], bytes: UInt64 = 0, microseconds: Double = 0,
        testVector: [Float] = []
    ) {
        self.madeMilliseconds = madeMilliseconds
        self.scores = scores
        self.bytes = bytes
        self.microseconds = microseconds
        self.testVector = testVector
    }
}
