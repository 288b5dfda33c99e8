/// Where rules match, in flat memory.
///
/// A rule is found by its anchor, one record: of a pattern without gaps its rarest element (the record with the
/// greatest id, as ids of pieces ascend with rarity and phrases come last; else the class with the fewest members), of one
/// with gaps the rarer of its first and its last element, of a trigger the item. `RulePostings` finds it, with the element
/// beside it.
struct RuleIndex: Sendable {
    /// In 8 bytes: there is one a rule, looked at here and there.
    private struct Compiled {
        /// Elements `start ..< start + count` of `codes`; of a trigger the item and the class.
        let (first, elements): (UInt32, UInt8)
        private let (anchorElement, most, near): (UInt8, UInt8, UInt8)

        init(start: Int, count: Int, anchor: Int, span: Int, triggerReach: Int) {
            (first, elements) = (UInt32(start), UInt8(count))
            (anchorElement, most, near) = (UInt8(anchor), UInt8(span), UInt8(triggerReach))
        }

        var start: Int { Int(first) }
        var count: Int { Int(elements) }
        var anchor: Int { Int(anchorElement) }
        /// The most items from the first to the last.
        var span: Int { Int(most) }
        /// 0 for a sequence.
        var triggerReach: Int { Int(near) }
    }

    private var compiled: [Compiled] = []
    private var codes: [UInt32] = []
    /// Up to how many items may be skipped before the element.
    private var gaps: [UInt8] = []
    /// Members of all classes, class after class.
    private var members: [UInt32] = []
    private var memberStarts: [Int] = [0]

    private(set) var postings = RulePostings([])
    private(set) var reach = 0

    init(_ rules: [Rule], classes: [PieceClass]) throws(RuleError) {
        for pieceClass in classes {
            members += pieceClass.members
            memberStarts.append(members.count)
        }
        var entries: [RulePostings.Posting] = []
        for (id, rule) in rules.enumerated() {
            let anchor = compile(rule)
            let records = anchor.isClass ? Array(members[memberRange(of: anchor)]) : [anchor]
            guard entries.count + records.count <= RuleLimits.maximumPostings else {
                throw .tooMany(
                    .postings, count: entries.count + records.count, maximum: RuleLimits.maximumPostings)
            }
            for record in records { entries.append(posting(id, anchor: record)) }
        }
        postings = RulePostings(entries)
    }

    /// Appends a rule to the columns; the code of its anchor.
    private mutating func compile(_ rule: Rule) -> UInt32 {
        let start = codes.count
        let elements = rule.pattern.elements
        for element in elements { codes.append(element.code) }
        switch rule.pattern {
        case .sequence(_, let gaps):
            self.gaps.append(0)
            self.gaps += gaps
            let step = gaps.contains { $0 > 0 } ? elements.count - 1 : 1
            let choices = stride(from: start, to: codes.count, by: step)
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

    private func posting(_ id: Int, anchor: UInt32) -> RulePostings.Posting {
        let rule = compiled[id]
        let place = rule.start + rule.anchor
        let isFirst = rule.anchor + 1 < rule.count
        let neighbour = codes[isFirst ? place + 1 : place - 1]
        // A class beside the anchor stands for anything, and what a trigger looks for may be farther away.
        guard rule.triggerReach == 0, !neighbour.isClass else {
            return RulePostings.Posting(
                rule: UInt32(id), left: anchor, right: RulePostings.nothing, isBackward: false, farthest: 0)
        }
        return RulePostings.Posting(
            rule: UInt32(id), left: isFirst ? anchor : neighbour, right: isFirst ? neighbour : anchor,
            isBackward: !isFirst, isWhole: rule.count == 2, farthest: 1 + gaps[isFirst ? place + 1 : place])
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
