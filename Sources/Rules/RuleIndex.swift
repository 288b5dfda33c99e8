/// Which rules may match at an item, in flat memory.
///
/// A rule is found by its anchor, one record: of a pattern without gaps its rarest element (the record with the
/// greatest id, as ids of pieces ascend with rarity and phrases come last; else the class with the fewest members), of one
/// with gaps the rarer of its first and its last element, of a trigger the item. One bit a record says whether it is an anchor at all: an item that no rule wants costs
/// one load from 4 KB (32,000 records), and never reaches the table.
///
/// The table is open-addressing with linear probing, at most half full; a slot holds the record, where its rules
/// begin in `postings`, and at which distances these need another record. `pairs` has a bit for each pair of an anchor and
/// such a neighbour: the rules of an anchor are looked at when one of its neighbours there may be one of theirs. A posting
/// says which it is, so that of these rules most that do not match are passed over.
struct RuleIndex: Sendable {
    private struct Compiled {
        /// Elements `start ..< start + count` of `codes`; of a trigger the item and the class.
        var start: Int
        var count: Int
        var anchor: Int
        /// The most items from the first to the last.
        var span: Int
        /// 0 for a sequence.
        var triggerReach: Int
    }

    private struct Slot {
        var record: UInt32
        var postings: Range<UInt32>
        /// Bit d + `farthestNeighbour` for a neighbour d items after the anchor (before, where d < 0); bit
        /// `farthestNeighbour`, the anchor's own, for a rule that needs none.
        var distances: UInt32 = 0
    }

    /// The most items between an anchor and its neighbour in a pattern.
    private static let farthestNeighbour = Int(RuleLimits.maximumGap) + 1

    struct Posting {
        var rule: UInt32
        /// Element beside the anchor; a class stands for anything.
        fileprivate var neighbour: UInt32
        /// Where the neighbour may be, in items from the anchor.
        fileprivate var nearest: Int8
        fileprivate var farthest: Int8
    }

    private var compiled: [Compiled] = []
    private var codes: [UInt32] = []
    /// Up to how many items may be skipped before the element.
    private var gaps: [UInt8] = []
    /// Members of all classes, class after class.
    private var members: [UInt32] = []
    private var memberStarts: [Int] = [0]

    private var isAnchor: [UInt64]
    private var slots: [Slot] = []
    private var shift = 0
    private var postings: [Posting] = []
    private var pairs: [UInt64] = []
    private var pairShift = 0
    private(set) var reach = 0

    init(_ rules: [Rule], classes: [PieceClass], recordCount: Int) throws(RuleError) {
        isAnchor = [UInt64](repeating: 0, count: (recordCount + 63) / 64)
        for pieceClass in classes {
            members += pieceClass.members
            memberStarts.append(members.count)
        }
        var pairs: [(record: UInt32, rule: UInt32)] = []
        for (id, rule) in rules.enumerated() {
            let anchor = compile(rule)
            let records = anchor.isClass ? memberRange(of: anchor) : nil
            let count = pairs.count + (records?.count ?? 1)
            guard count <= RuleLimits.maximumPostings else {
                throw .tooMany(.postings, count: count, maximum: RuleLimits.maximumPostings)
            }
            if let records {
                for member in members[records] { pairs.append((member, UInt32(id))) }
            } else {
                pairs.append((anchor, UInt32(id)))
            }
        }
        fillTable(pairs)
    }

    /// Appends a rule to the columns; the code of its anchor.
    private mutating func compile(_ rule: Rule) -> UInt32 {
        let start = codes.count
        let elements = rule.pattern.elements
        codes += elements.map(\.code)
        switch rule.pattern {
        case .sequence(_, let gaps):
            self.gaps += [0] + gaps
            let choices = gaps.contains { $0 > 0 } ? [start, codes.count - 1] : Array(start..<codes.count)
            let anchor = choices.max { rarity(codes[$0]) < rarity(codes[$1]) } ?? start
            compiled.append(
                Compiled(
                    start: start, count: elements.count, anchor: anchor - start,
                    span: elements.count + gaps.reduce(0) { $0 + Int($1) }, triggerReach: 0))
            reach = max(reach, (compiled.last?.span ?? 1) - 1)
        case .trigger(_, near: _, let reach):
            gaps += [0, 0]
            compiled.append(Compiled(start: start, count: 2, anchor: 0, span: 1, triggerReach: Int(reach)))
            self.reach = max(self.reach, Int(reach))
        }
        return codes[start + (compiled.last?.anchor ?? 0)]
    }

    private func rarity(_ code: UInt32) -> Int { code.isClass ? -memberRange(of: code).count : Int(code) }

    private func memberRange(of code: UInt32) -> Range<Int> {
        let index = Int(code & ~PatternElement.classBit)
        return memberStarts[index]..<memberStarts[index + 1]
    }

    private mutating func fillTable(_ pairs: [(record: UInt32, rule: UInt32)]) {
        guard !pairs.isEmpty else { return }
        let pairs = pairs.sorted { ($0.record, $0.rule) < ($1.record, $1.rule) }
        postings = pairs.map { posting(Int($0.rule)) }
        var starts = pairs.indices.filter { $0 == 0 || pairs[$0].record != pairs[$0 - 1].record }
        let bits = max(1, Int.bitWidth - (starts.count * 2 - 1).leadingZeroBitCount)
        shift = 32 - bits
        slots = [Slot](repeating: Slot(record: .max, postings: 0..<0), count: 1 << bits)
        starts.append(pairs.count)
        let pairBits = max(6, Int.bitWidth - (postings.count * 16 - 1).leadingZeroBitCount)
        pairShift = 64 - pairBits
        self.pairs = [UInt64](repeating: 0, count: 1 << (pairBits - 6))
        for (start, end) in zip(starts, starts.dropFirst()) {
            let record = pairs[start].record
            isAnchor[Int(record / 64)] |= 1 << UInt64(record % 64)
            var slot = home(of: record)
            while !slots[slot].postings.isEmpty { slot = (slot + 1) & (slots.count - 1) }
            slots[slot] = Slot(record: record, postings: UInt32(start)..<UInt32(end))
            for posting in postings[start..<end] { notePair(posting, of: slot) }
        }
    }

    private mutating func notePair(_ posting: Posting, of slot: Int) {
        guard !posting.neighbour.isClass else { return slots[slot].distances |= 1 << UInt32(Self.farthestNeighbour) }
        for distance in Int(posting.nearest)...Int(posting.farthest) {
            slots[slot].distances |= 1 << UInt32(distance + Self.farthestNeighbour)
        }
        let bit = pairBit(slots[slot].record, posting.neighbour)
        pairs[bit / 64] |= 1 << UInt64(bit % 64)
    }

    private func pairBit(_ anchor: UInt32, _ neighbour: UInt32) -> Int {
        Int(((UInt64(anchor) << 32 | UInt64(neighbour)) &* 0x9E37_79B9_7F4A_7C15) >> UInt64(pairShift))
    }

    private func home(of record: UInt32) -> Int { Int((record &* 0x9E37_79B1) >> UInt32(shift)) }

    /// Whether any rule has this record as its anchor.
    private func isAnchor(_ record: UInt32) -> Bool { isAnchor[Int(record / 64)] >> UInt64(record % 64) & 1 == 1 }

    private func posting(_ id: Int) -> Posting {
        let rule = compiled[id]
        let anchor = rule.start + rule.anchor
        guard rule.triggerReach == 0 else {
            return Posting(rule: UInt32(id), neighbour: PatternElement.classBit, nearest: 1, farthest: 1)
        }
        return rule.anchor + 1 < rule.count
            ? Posting(rule: UInt32(id), neighbour: codes[anchor + 1], nearest: 1, farthest: 1 + Int8(gaps[anchor + 1]))
            : Posting(rule: UInt32(id), neighbour: codes[anchor - 1], nearest: -1 - Int8(gaps[anchor]), farthest: -1)
    }

    /// Where the rules with the anchor at `item` are among the postings, ascending; empty when none of them can match
    /// there.
    func candidates(at item: Int, in records: UnsafeBufferPointer<UInt32>) -> Range<Int> {
        guard isAnchor(records[item]) else { return 0..<0 }
        var slot = home(of: records[item])
        while slots[slot].record != records[item] { slot = (slot + 1) & (slots.count - 1) }
        let range = Int(slots[slot].postings.lowerBound)..<Int(slots[slot].postings.upperBound)
        var distances = slots[slot].distances
        while distances != 0 {
            let distance = distances.trailingZeroBitCount - Self.farthestNeighbour
            distances &= distances - 1
            if distance == 0 { return range }
            guard records.indices.contains(item + distance) else { continue }
            let bit = pairBit(records[item], records[item + distance])
            if pairs[bit / 64] >> UInt64(bit % 64) & 1 == 1 { return range }
        }
        return 0..<0
    }

    /// The posting at a place that `candidates` gave.
    func candidate(_ place: Int) -> Posting { postings[place] }

    /// False when the neighbour that a rule needs is not there.
    func mayMatch(_ posting: Posting, at item: Int, in records: UnsafeBufferPointer<UInt32>) -> Bool {
        if posting.neighbour.isClass { return true }
        for place in item + Int(posting.nearest)...item + Int(posting.farthest)
        where place >= 0 && place < records.count && records[place] == posting.neighbour {
            return true
        }
        return false
    }

    /// Calls `body` with the first and last item of the rule's matches that have this anchor: one at most, but for a
    /// pattern with gaps that is found by its last element, which may begin at several items.
    func forEachMatch(
        of rule: Int, anchoredAt item: Int, in records: UnsafeBufferPointer<UInt32>, _ body: (Int, Int) -> Void
    ) {
        let compiled = compiled[rule]
        guard compiled.anchor > 0, compiled.span > compiled.count else {
            let start = item - compiled.anchor
            if let last = lastItem(of: rule, at: start, in: records) { body(start, last) }
            return
        }
        for start in max(0, item - compiled.span + 1)..<max(0, item - compiled.count + 2)
        where lastItem(of: rule, at: start, in: records) == item {
            body(start, item)
        }
    }

    /// The last item of the rule's match that begins at item `start`, or nil when there is none.
    func lastItem(of rule: Int, at start: Int, in records: UnsafeBufferPointer<UInt32>) -> Int? {
        let rule = compiled[rule]
        guard records.indices.contains(start) else { return nil }
        guard rule.triggerReach > 0 else {
            return end(of: rule.start, last: rule.start + rule.count - 1, at: start, in: records)
        }
        guard fits(rule.start, records[start]) else { return nil }
        let near = max(0, start - rule.triggerReach)..<min(records.count, start + rule.triggerReach + 1)
        return near.contains { $0 != start && fits(rule.start + 1, records[$0]) } ? start : nil
    }

    /// Matches elements `element ... last` from item `item` on, smallest gaps first.
    private func end(of element: Int, last: Int, at item: Int, in records: UnsafeBufferPointer<UInt32>)
        -> Int?
    {
        guard item < records.count, fits(element, records[item]) else { return nil }
        if element == last { return item }
        for skipped in 0...Int(gaps[element + 1]) {
            if let end = end(of: element + 1, last: last, at: item + 1 + skipped, in: records) { return end }
        }
        return nil
    }

    private func fits(_ element: Int, _ record: UInt32) -> Bool {
        let code = codes[element]
        guard code.isClass else { return code == record }
        var range = memberRange(of: code)
        while range.count > 1 {
            let middle = range.lowerBound + range.count / 2
            range = members[middle] <= record ? middle..<range.upperBound : range.lowerBound..<middle
        }
        return members[range.lowerBound] == record
    }
}

extension UInt32 {
    fileprivate var isClass: Bool { self & PatternElement.classBit != 0 }
}
