package import Tokenization

/// The program of a text as a stream of items, stored as columns: item i is
/// `LEXEME operands[i]  SCALE exp(scores[i])  ADD`, and stands for the pieces `firsts[i]` to `lasts[i]`. After the
/// last item the machine normalises the sum. Reused from text to text.
package struct ProgramStream: Sendable {
    /// Piece ids.
    package private(set) var operands: [UInt32] = []
    /// Log-weights; 0 at load, which weighs exactly 1.
    package private(set) var scores: [Float] = []
    package private(set) var firsts: [UInt32] = []
    package private(set) var lasts: [UInt32] = []

    package init() {}

    package var count: Int { operands.count }

    /// Replaces the program by one item a piece, with score 0. Allocates only to grow.
    package mutating func load(_ pieces: PieceBuffer) {
        operands.removeAll(keepingCapacity: true)
        scores.removeAll(keepingCapacity: true)
        firsts.removeAll(keepingCapacity: true)
        lasts.removeAll(keepingCapacity: true)
        pieces.withIDs { operands.append(contentsOf: $0) }
        scores.append(contentsOf: repeatElement(0, count: count))
        firsts.append(contentsOf: 0..<UInt32(count))
        lasts.append(contentsOf: 0..<UInt32(count))
    }

    /// What is wrong with the columns, or nil: lengths, operands below `lexemeCount`, finite scores, spans that
    /// are in order and inside the text of `pieceCount` pieces.
    package func problem(lexemeCount: Int, pieceCount: Int) -> String? {
        guard scores.count == count, firsts.count == count, lasts.count == count else {
            return "the columns differ in length"
        }
        for index in 0..<count {
            if operands[index] >= lexemeCount { return "item \(index): there is no lexeme \(operands[index])" }
            if !scores[index].isFinite { return "item \(index): the score is not a finite number" }
            if firsts[index] > lasts[index] || lasts[index] >= pieceCount {
                return "item \(index): the span is not inside the text"
            }
        }
        return nil
    }
}
