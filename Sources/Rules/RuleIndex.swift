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
            count += anchors(of: shape).count * max(1, neighbours(of: shape).count * (shape.triggerReach > 0 ? 2 : 1))
            guard count <= RuleLimits.maximumPostings else {
                throw .tooMany(.postings, count: count, maximum: RuleLimits.maximumPostings)
            }
        }
        var entries: [RulePostings.Posting] = []
        entries.reserveCapacity(count)
        for (rule, shape) in rules.shapes.enumerated() {
            let neighbours = neighbours(of: shape)
            for anchor in anchors(of: shape) { addPostings(rule, anchor: anchor, neighbours, to: &entries) }
        }
        return entries
    }

    /// The records that may be a rule's anchor.
    private func anchors(of rule: RuleTable.Shape) -> ArraySlice<UInt32> {
        let code = rules.codes[rule.start + rule.anchor]
        return code.isClass ? members[memberRange(of: code)] : [code]
    }

    /// A class of more members is not looked for as pairs of the anchor and each of them.
    private static let maximumPairedMembers = 16

    /// The records of which one must stand beside the anchor, or near it; none where no few certain ones must, or too far away.
    private func neighbours(of rule: RuleTable.Shape) -> ArraySlice<UInt32> {
        let other = neighbourPlace(of: rule)
        let code = rules.codes[other]
        guard rule.triggerReach <= RulePostings.maximumReach else { return [] }
        guard code.isClass else { return [code] }
        // Of several members in a gap the nearest counts, which a pair does not tell.
        let range = memberRange(of: code)
        guard range.count <= Self.maximumPairedMembers, rule.triggerReach > 0 || gap(of: rule) == 0 else { return [] }
        return members[range]
    }

    /// Of the element beside the anchor: the next one, or before a last anchor the one before.
    private func neighbourPlace(of rule: RuleTable.Shape) -> Int {
        rule.start + (rule.anchor + 1 < rule.count ? rule.anchor + 1 : rule.anchor - 1)
    }

    /// The most items that may lie between the anchor and the element beside it.
    private func gap(of rule: RuleTable.Shape) -> UInt8 { rules.gaps[max(neighbourPlace(of: rule), rule.start + rule.anchor)] }

    private func memberRange(of code: UInt32) -> Range<Int> {
        let index = Int(code.classIndex)
        return memberStarts[index]..<memberStarts[index + 1]
    }

    private func addPostings(
        _ id: Int, anchor: UInt32, _ neighbours: ArraySlice<UInt32>, to entries: inout [RulePostings.Posting]
    ) {
        let rule = rules.shapes[id]
        let isTrigger = rule.triggerReach > 0
        let isFirst = rule.anchor + 1 < rule.count
        if neighbours.isEmpty {
            entries.append(
                RulePostings.Posting(rule: UInt32(id), left: anchor, right: RulePostings.nothing, isBackward: false, farthest: 0))
        }
        for neighbour in neighbours {
            // What a trigger looks for may stand on both sides.
            for isBackward in isTrigger ? [false, true] : [!isFirst] {
                entries.append(
                    RulePostings.Posting(
                        rule: UInt32(id), left: isBackward ? neighbour : anchor, right: isBackward ? anchor : neighbour,
                        isBackward: isBackward, isWhole: rule.count == 2 && !isTrigger, isTrigger: isTrigger,
                        farthest: isTrigger ? UInt8(rule.triggerReach) : 1 + gap(of: rule)))
            }
        }
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
        return trigger(of: rule, at: start, in: records) == nil ? nil : start
    }

    /// The first item that a rule with a trigger needs near item `start`, or nil when it does not match there.
    func trigger(of rule: Int, at start: Int, in records: UnsafeBufferPointer<UInt32>) -> Int? {
        trigger(of: rules.shapes[rule], at: start, in: records)
    }

    private func trigger(of rule: RuleTable.Shape, at start: Int, in records: UnsafeBufferPointer<UInt32>) -> Int? {
        guard fits(rule.start, records[start]) else { return nil }
        let near = max(0, start - rule.triggerReach)..<min(records.count, start + rule.triggerReach + 1)
        return near.first { $0 != start && fits(rule.start + 1, records[$0]) }
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
