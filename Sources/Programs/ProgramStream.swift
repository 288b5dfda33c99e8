package import Tokenization

/// The program of a text as a stream of items, stored as columns: item i is
/// `LEXEME operands[i]  SCALE exp(scores[i])  ADD` (`PHRASE` for a record that is no piece), and stands for the pieces
/// `firsts[i]` to `lasts[i]`. After the last item the machine normalises the sum. Reused from text to text.
///
/// The first `bodyCount` items are the text in order: their spans tile it. The items after them were added by rules,
/// in the order of their adding; their spans say which pieces made a rule add them.
package struct ProgramStream: Sendable {
    /// Record ids: pieces first, then phrases (phrase f is record `vocabularyCount + f`).
    package private(set) var operands: [UInt32] = []
    /// Log-weights; 0 at load, which weighs exactly 1.
    package private(set) var scores: [Float] = []
    package private(set) var firsts: [UInt32] = []
    package private(set) var lasts: [UInt32] = []
    package private(set) var bodyCount = 0

    package init() {}

    package var count: Int { operands.count }
    package var addedCount: Int { count - bodyCount }

    /// Replaces the program by one item a piece, with score 0. Allocates only to grow.
    package mutating func load(_ pieces: PieceBuffer) { pieces.withIDs { load(ids: $0) } }

    /// The same for the ids of the pieces alone.
    package mutating func load(ids: some Collection<UInt32>) {
        removeAll()
        operands.append(contentsOf: ids)
        scores.append(contentsOf: repeatElement(0, count: count))
        firsts.append(contentsOf: 0..<UInt32(count))
        lasts.append(contentsOf: 0..<UInt32(count))
        bodyCount = count
    }

    /// Becomes a copy of another program, in the memory that it has.
    package mutating func copy(_ other: ProgramStream) {
        removeAll()
        append(other, 0..<other.count)
        bodyCount = other.bodyCount
    }

    /// Index of the item of the body that begins at a piece, or nil where none does. Binary search.
    package func bodyItem(beginningAt piece: UInt32) -> Int? {
        var (low, high) = (0, bodyCount)
        while low < high {
            let middle = (low + high) / 2
            if firsts[middle] < piece { low = middle + 1 } else { high = middle }
        }
        return low < bodyCount && firsts[low] == piece ? low : nil
    }

    /// What is wrong with the columns, or nil: lengths, operands below `recordCount`, finite scores, a body whose
    /// spans tile the text of `pieceCount` pieces, added spans inside it.
    package func problem(recordCount: Int, pieceCount: Int) -> String? {
        guard scores.count == count, firsts.count == count, lasts.count == count, bodyCount <= count else {
            return "the columns differ in length"
        }
        var next: UInt32 = 0
        for index in 0..<count {
            if operands[index] >= recordCount {
                return "item \(index): there is no record \(operands[index])"
            }
            if !scores[index].isFinite { return "item \(index): the score is not a finite number" }
            if firsts[index] > lasts[index] || lasts[index] >= pieceCount {
                return "item \(index): the span is not inside the text"
            }
            guard index < bodyCount else { continue }
            if firsts[index] != next { return "item \(index): the span does not follow the one before" }
            next = lasts[index] + 1
        }
        return Int(next) == pieceCount ? nil : "the body ends before the text does"
    }
}

/// The one edit: a run of items gives way to another. Only `EditJournal` makes it, so that each can be undone.
extension ProgramStream {
    /// Puts items of another stream in the place of `range`. A run of the body gives way to a run of the body; an
    /// empty range is the place of an added item.
    mutating func replace(_ range: Range<Int>, with other: borrowing ProgramStream, _ items: Range<Int>) {
        if range.lowerBound < bodyCount && !range.isEmpty { bodyCount += items.count - range.count }
        operands.replaceSubrange(range, with: other.operands[items])
        scores.replaceSubrange(range, with: other.scores[items])
        firsts.replaceSubrange(range, with: other.firsts[items])
        lasts.replaceSubrange(range, with: other.lasts[items])
    }

    mutating func append(_ other: borrowing ProgramStream, _ items: Range<Int>) {
        operands.append(contentsOf: other.operands[items])
        scores.append(contentsOf: other.scores[items])
        firsts.append(contentsOf: other.firsts[items])
        lasts.append(contentsOf: other.lasts[items])
    }

    mutating func append(_ operand: UInt32, first: UInt32, last: UInt32) {
        operands.append(operand)
        scores.append(0)
        firsts.append(first)
        lasts.append(last)
    }

    mutating func removeAll() { removeItems(from: 0) }

    mutating func removeItems(from index: Int) {
        operands.removeSubrange(index...)
        scores.removeSubrange(index...)
        firsts.removeSubrange(index...)
        lasts.removeSubrange(index...)
        bodyCount = min(bodyCount, index)
    }
}
