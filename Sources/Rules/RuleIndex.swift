/// Where rules match, in flat memory.
///
/// A rule is found by its anchor, one record: of a pattern without gaps its rarest element (the record with the
/// greatest id, as ids of pieces ascend with rarity and phrases come last; else the class with the fewest members), of one
/// with gaps the rarer of its first and its last element, of a trigger the item. `RulePostings` finds it, with the element
/// beside it.
struct RuleIndex: Sendable {
    private let rules: RuleTable
    /// Members of all classes, class after class.
    private var members: [UInt32] = []
    private var memberStarts: [Int] = [0]

    private(set) var postings = RulePostings([])
    /// The most items that lie between the first and the last item that a match depends on.
    let reach: Int

    init(_ rules: RuleTable, classes: [PieceClass]) throws(RuleError) {
        for pieceClass in classes {
            members += pieceClass.members
            memberStarts.append(members.count)
        }
        self.rules = rules
        reach = rules.shapes.reduce(0) { max($0, $1.triggerReach, $1.span - 1) }
        postings = RulePostings(try allPostings())
    }

    private func allPostings() throws(RuleError) -> [RulePostings.Posting] {
        var count = 0
        for shape in rules.shapes {
            let anchor = rules.codes[shape.start + shape.anchor]
            count += anchor.isClass ? memberRange(of: anchor).count : 1
            guard count <= RuleLimits.maximumPostings else {
                throw .tooMany(.postings, count: count, maximum: RuleLimits.maximumPostings)
            }
        }
        var entries: [RulePostings.Posting] = []
        entries.reserveCapacity(count)
        for (rule, shape) in rules.shapes.enumerated() {
            let anchor = rules.codes[shape.start + shape.anchor]
            if anchor.isClass {
                for place in memberRange(of: anchor) { entries.append(posting(rule, anchor: members[place])) }
            } else {
                entries.append(posting(rule, anchor: anchor))
            }
        }
        return entries
    }

    private func memberRange(of code: UInt32) -> Range<Int> {
        let index = Int(code.classIndex)
        return memberStarts[index]..<memberStarts[index + 1]
    }

    private func posting(_ id: Int, anchor: UInt32) -> RulePostings.Posting {
        let rule = rules.shapes[id]
        let place = rule.start + rule.anchor
        let isFirst = rule.anchor + 1 < rule.count
        let neighbour = rules.codes[isFirst ? place + 1 : place - 1]
        // A class beside the anchor stands for anything, and what a trigger looks for may be farther away.
        guard rule.triggerReach == 0, !neighbour.isClass else {
            return RulePostings.Posting(
                rule: UInt32(id), left: anchor, right: RulePostings.nothing, isBackward: false, farthest: 0)
        }
        return RulePostings.Posting(
            rule: UInt32(id), left: isFirst ? anchor : neighbour, right: isFirst ? neighbour : anchor,
            isBackward: !isFirst, isWhole: rule.count == 2, farthest: 1 + rules.gaps[isFirst ? place + 1 : place])
    }

    /// Calls `body` with the first and last item of the rule's matches that have this anchor: one at most, but for a
    /// pattern with gaps that is found by its last element, which may begin at several items.
    func forEachMatch(
        of rule: Int, anchoredAt item: Int, in records: UnsafeBufferPointer<UInt32>, _ body: (Int, Int) -> Void
    ) {
        let shape = rules.shapes[rule]
        guard shape.anchor > 0, shape.span > shape.count else {
            let start = item - shape.anchor
            if let last = lastItem(of: rule, at: start, in: records) { body(start, last) }
            return
        }
        for start in max(0, item - shape.span + 1)..<max(0, item - shape.count + 2)
        where lastItem(of: rule, at: start, in: records) == item {
            body(start, item)
        }
    }

    /// The last item of the rule's match that begins at item `start`, or nil when there is none.
    func lastItem(of rule: Int, at start: Int, in records: UnsafeBufferPointer<UInt32>) -> Int? {
        let rule = rules.shapes[rule]
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
        for skipped in 0...Int(rules.gaps[element + 1]) {
            if let end = end(of: element + 1, last: last, at: item + 1 + skipped, in: records) { return end }
        }
        return nil
    }

    private func fits(_ element: Int, _ record: UInt32) -> Bool {
        let code = rules.codes[element]
        guard code.isClass else { return code == record }
        var range = memberRange(of: code)
        while range.count > 1 {
            let middle = range.lowerBound + range.count / 2
            range = members[middle] <= record ? middle..<range.upperBound : range.lowerBound..<middle
        }
        return members[range.lowerBound] == record
    }
}
