/// Which rules may match where, by two records: a rule's anchor, and the neighbour that its pattern needs beside it.
///
/// `filter` has two bits of one word for each such pair at each distance where it counts (a Bloom filter in blocks of a
/// word): a scan of a text asks it for every pair of items up to `reach` apart, and nearly all answers are no. The table
/// behind it is open-addressing with linear probing, at most half full; a slot holds where the pair's rules begin in the
/// postings. Rules that need no certain neighbour are found by their anchor alone.
struct RulePostings: Sendable {
    /// A rule whose anchor is `left`, or `right` when it `isBackward`.
    struct Posting {
        var rule: UInt32
        /// The records of the earlier and of the later item; `left` is the anchor and `right` `nothing` for a rule that needs
        /// no neighbour.
        var left: UInt32
        var right: UInt32
        /// The anchor is `right`.
        var isBackward: Bool
        /// The pattern is these two.
        var isWhole = false
        /// The anchor alone is the match; the other record is what must be near it, on either side.
        var isTrigger = false
        /// The most items from one to the other.
        var farthest: UInt8
    }

    /// No record.
    static let nothing = UInt32.max

    /// The farthest that two records of a pair may be apart.
    static let maximumReach = 4
    /// The farthest that those of any pair here may be: 0 without pairs.
    let reach: Int
    /// Whether there are rules that need no neighbour.
    let hasLoneAnchors: Bool
    private let postings: [Posting]
    private var filter: [UInt64] = [0]
    private var slots: [UInt32] = []
    private var slotShift = UInt64(63)

    init(_ given: consuming [Posting]) {
        var postings = given
        func key(_ posting: Posting) -> UInt64 { UInt64(posting.left) << 32 | UInt64(posting.right) }
        // Those of pairs of records that come in the order of rules are in order.
        let isAscending = zip(postings, postings.dropFirst()).allSatisfy { key($0) <= key($1) }
        if !isAscending { postings.sort { (key($0), $0.rule) < (key($1), $1.rule) } }
        reach = postings.reduce(0) { max($0, $1.right == Self.nothing ? 0 : Int($1.farthest)) }
        hasLoneAnchors = postings.contains { $0.right == Self.nothing }
        self.postings = postings
        guard !self.postings.isEmpty else { return }
        let bits = Int.bitWidth - (self.postings.count * 2 - 1).leadingZeroBitCount
        slotShift = UInt64(64 - max(1, bits))
        slots = [UInt32](repeating: Self.nothing, count: 1 << (64 - slotShift))
        filter = [UInt64](repeating: 0, count: 1 << max(1, bits - 2))
        var last: UInt64?
        for (place, posting) in self.postings.enumerated() {
            // The first of a pair: none that is there has the same.
            if key(posting) != last { insert(UInt32(place), posting.left, posting.right) }
            last = key(posting)
            addToFilter(posting)
        }
    }

    private mutating func insert(_ place: UInt32, _ left: UInt32, _ right: UInt32) {
        var slot = Int(Self.hash(left, right, 0) >> slotShift)
        while slots[slot] != Self.nothing { slot = (slot + 1) & (slots.count - 1) }
        slots[slot] = place
    }

    private mutating func addToFilter(_ posting: Posting) {
        guard posting.right != Self.nothing else { return }
        for distance in 1...Int(posting.farthest) {
            let hash = Self.hash(posting.left, posting.right, distance)
            filter[Int(Self.word(of: hash, UInt64(filter.count - 1)))] |= 1 << (hash >> 58) | 1 << (hash >> 52 & 63)
        }
    }

    /// Of a pair at a distance.
    @inline(__always)
    private static func hash(_ left: UInt32, _ right: UInt32, _ distance: Int) -> UInt64 {
        UInt64(left) &* 0x9E37_79B9_7F4A_7C15 &+ UInt64(right) &* 0xBF58_476D_1CE4_E5B9
            &+ UInt64(truncatingIfNeeded: distance) &* 0xD1B5_4A32_D192_ED03
    }

    /// Where the filter keeps what has a hash: a word, and two bits of it.
    @inline(__always)
    private static func word(of hash: UInt64, _ lastWord: UInt64) -> UInt64 { hash &>> 28 & lastWord }

    /// The slot of a pair, or the empty one where it would be.
    private func slot(of left: UInt32, _ right: UInt32) -> Int {
        var slot = Int(Self.hash(left, right, 0) >> slotShift)
        while slots[slot] != Self.nothing, !isPair(Int(slots[slot]), left, right) { slot = (slot + 1) & (slots.count - 1) }
        return slot
    }

    private func isPair(_ place: Int, _ left: UInt32, _ right: UInt32) -> Bool {
        postings[place].left == left && postings[place].right == right
    }

    /// Calls `body` with each earlier item of `items`, and the distance to the later one, where there may be a pair; in
    /// the order of the text.
    @inline(__always)
    func forEachPair(
        in records: UnsafeBufferPointer<UInt32>, from items: Range<Int>, _ body: (_ item: Int, _ distance: Int) -> Void
    ) {
        guard reach > 0 else { return }
        var items = items.clamped(to: 0..<records.count)
        while let first = items.first {
            var answers = answers(in: records, from: items.prefix(16))
            while answers != 0 {
                let bit = answers.trailingZeroBitCount
                body(first &+ bit / 4, bit % 4 &+ 1)
                answers &= answers &- 1
            }
            items = items.dropFirst(16)
        }
    }

    /// What the filter says of up to 16 items: bit 4 i + d − 1 is that of item i and the one d behind it. There is no branch
    /// on it, which would be mispredicted at every yes.
    @inline(never)
    private func answers(in records: UnsafeBufferPointer<UInt32>, from items: Range<Int>) -> UInt64 {
        filter.withUnsafeBufferPointer { filter in
            let lastWord = UInt64(filter.count &- 1)
            var answers: UInt64 = 0
            for item in items.reversed() {
                var distance = min(reach, records.count &- 1 &- item)
                answers &<<= UInt64(4 &- distance)
                while distance > 0 {
                    let hash = Self.hash(records[item], records[item &+ distance], distance)
                    let word = filter[Int(truncatingIfNeeded: Self.word(of: hash, lastWord))]
                    answers = answers &<< 1 | word &>> (hash &>> 58) & word &>> (hash &>> 52) & 1
                    distance &-= 1
                }
            }
            return answers
        }
    }

    /// Calls `body` with the rules of a pair, or of an anchor alone, ascending.
    @inline(__always)
    func forEachRule(of left: UInt32, _ right: UInt32, _ body: (Posting) -> Void) {
        let first = slots[slot(of: left, right)]
        guard first != Self.nothing else { return }
        var place = Int(first)
        while place < postings.count, isPair(place, left, right) {
            body(postings[place])
            place += 1
        }
    }
}
