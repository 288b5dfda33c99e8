package import Tokenization

/// The program of a text as a stream of items, stored as two columns: item i is
/// `LEXEME operands[i]  SCALE exp(placements[i].score)  ADD` (`PHRASE` for a record that is no piece), and stands for the
/// pieces `placements[i].first` to `placements[i].last`. After the last item the machine normalises the sum. Reused from
/// text to text.
///
/// The first `bodyCount` items are the text in order: their spans tile it. The items after them were added by rules,
/// in the order of their adding; their spans say which pieces made a rule add them.
package struct ProgramStream: Sendable {
    /// Record ids: pieces first, then phrases (phrase f is record `vocabularyCount + f`).
    package private(set) var operands: [UInt32] = []
    package private(set) var placements: [Placement] = []
    package private(set) var bodyCount = 0
    /// The placements of a program as it is loaded, for the longest so far: a load copies them.
    private var initial: [Placement] = []

    /// Where an item stands in the text, and what it weighs.
    package struct Placement: Sendable, Hashable {
        package var first: UInt32
        package var last: UInt32
        /// Log-weight; 0 at load, which weighs exactly 1.
        package var score: Float = 0
    }

    package init() {}

    package var count: Int { operands.count }
    package var addedCount: Int { count - bodyCount }

    /// Replaces the program by one item a piece, with score 0. Allocates only to grow.
    package mutating func load(_ pieces: PieceBuffer) { pieces.withIDs { load(ids: $0) } }

    /// The same for the ids of the pieces alone.
    package mutating func load(ids: some Collection<UInt32>) {
        removeAll()
        operands.append(contentsOf: ids)
        while initial.count < count {
            initial.append(Placement(first: UInt32(initial.count), last: UInt32(initial.count)))
        }
        placements.append(contentsOf: initial[..<count])
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
            if placements[middle].first < piece { low = middle + 1 } else { high = middle }
        }
        return low < bodyCount && placements[low].first == piece ? low : nil
    }

    /// What is wrong with the columns, or nil: lengths, operands below `recordCount`, finite scores, a body whose
    /// spans tile the text of `pieceCount` pieces, added spans inside it.
    package func problem(recordCount: Int, pieceCount: Int) -> String? {
        guard placements.count == count, bodyCount <= count else {
            return "the columns differ in length"
        }
        var next: UInt32 = 0
        for index in 0..<count {
            let placement = placements[index]
            if operands[index] >= recordCount {
                return "item \(index): there is no record \(operands[index])"
            }
            if !placement.score.isFinite { return "item \(index): the score is not a finite number" }
            if placement.first > placement.last || placement.last >= pieceCount {
                return "item \(index): the span is not inside the text"
            }
            guard index < bodyCount else { continue }
            if placement.first != next { return "item \(index): the span does not follow the one before" }
            next = placement.last + 1
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
        placements.replaceSubrange(range, with: other.placements[items])
    }

    mutating func append(_ other: borrowing ProgramStream, _ items: Range<Int>) {
        operands.append(contentsOf: other.operands[items])
        placements.append(contentsOf: other.placements[items])
    }

    mutating func append(_ operand: UInt32, first: UInt32, last: UInt32) {
        operands.append(operand)
        placements.append(Placement(first: first, last: last))
    }

    mutating func removeAll() {
        operands.removeAll(keepingCapacity: true)
        placements.removeAll(keepingCapacity: true)
        bodyCount = 0
    }

    mutating func removeItems(from index: Int) {
        operands.removeSubrange(index...)
        placements.removeSubrange(index...)
        bodyCount = min(bodyCount, index)
    }
}
