/// The parts of the lexemes that gates read (algorithm.md, section 3), as columns: int8 rows with a scale each.
package struct GateColumns: Sendable {
    /// r, the length of q and of a context.
    package let rankCount: Int
    /// s, the length of m, k and of a row of `offsets`.
    package let partCount: Int
    /// b, one a piece.
    package let biases: [Float]
    /// pieces × r, and a scale a piece.
    package let q: [Int8], qScales: [Float]
    /// pieces × s, and a scale a piece.
    package let m: [Int8], mScales: [Float]
    package let k: [Int8], kScales: [Float]
    /// d, 4 × s: for the neighbours two and one before, one and two behind.
    package let offsets: [Float]

    package init(
        rankCount: Int, partCount: Int, biases: [Float], q: [Int8], qScales: [Float], m: [Int8],
        mScales: [Float],
        k: [Int8], kScales: [Float], offsets: [Float]
    ) {
        let count = biases.count
        precondition(rankCount >= 0 && partCount >= 0 && offsets.count == 4 * partCount)
        precondition(q.count == count * rankCount && m.count == count * partCount && k.count == m.count)
        precondition([qScales, mScales, kScales].allSatisfy { $0.count == count })
        (self.rankCount, self.partCount) = (rankCount, partCount)
        (self.biases, self.offsets) = (biases, offsets)
        (self.q, self.m, self.k) = (q, m, k)
        (self.qScales, self.mScales, self.kScales) = (qScales, mScales, kScales)
    }
}

/// The pieces of a batch of texts, one text after the other.
package struct PieceBatch: Sendable {
    package let pieces: [UInt32]
    /// Texts + 1: where each text begins in `pieces`; the first is 0, the last their number.
    package let starts: [UInt32]
    package var textCount: Int { starts.count - 1 }

    package init(pieces: [UInt32], starts: [UInt32]) {
        precondition(starts.first == 0 && Int(starts[starts.count - 1]) == pieces.count)
        precondition(zip(starts, starts.dropFirst()).allSatisfy { $0 <= $1 })
        self.pieces = pieces
        self.starts = starts
    }
}
