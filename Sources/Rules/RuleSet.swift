/// Rules that were checked, put in canonical order and indexed. Immutable, so any number of threads may use it.
///
/// The order in which rules and classes are given does not matter: equal sets have equal bytes. The id of a rule is
/// its index in `rules`.
package struct RuleSet: Sendable {
    /// Records below this id are pieces.
    package let vocabularyCount: Int
    package let phraseCount: Int
    /// Length of the context vectors, and of the context feature of a text.
    package let contextDimensions: Int
    /// Ascending by name.
    package let classes: [PieceClass]
    /// Ascending by pattern, edit and phrase.
    package let rules: [Rule]
    let index: RuleIndex
    /// What annealing asks of a rule, rule after rule: less memory than the rules themselves.
    package let facts: [Facts]

    package struct Facts: Sendable {
        package var worth: Float
        /// Of its phrase.
        package var record: UInt32
        package var edit: Edit
        package var looksAtContext: Bool
    }

    /// Every rule adds, and its bid is its worth, ±0.5 at most.
    package let onlyAddsWorths: Bool

    package var recordCount: Int { vocabularyCount + phraseCount }
    package var isEmpty: Bool { rules.isEmpty }

    /// The most items that lie between the first and the last item that a match depends on.
    package var reach: Int { index.reach }

    /// Checks everything, and builds the index.
    /// - Throws: `rule` and `pieceClass` with the index in the order given; `tooMany`.
    package init(
        vocabularyCount: Int, phraseCount: Int, contextDimensions: Int = 0, classes: [PieceClass] = [],
        rules: [Rule] = []
    ) throws(RuleError) {
        try Self.check(vocabularyCount + phraseCount, .records, RuleLimits.maximumRecords)
        try Self.check(contextDimensions, .contextDimensions, RuleLimits.maximumContextDimensions)
        try Self.check(classes.count, .classes, RuleLimits.maximumClasses)
        try Self.check(rules.count, .rules, RuleLimits.maximumRules)
        self.vocabularyCount = vocabularyCount
        self.phraseCount = phraseCount
        self.contextDimensions = contextDimensions
        let order = classes.indices.sorted { classes[$0].name < classes[$1].name }
        self.classes = order.map { classes[$0] }
        for (place, given) in order.enumerated() {
            if let fault = Self.fault(of: classes[given], recordCount: vocabularyCount + phraseCount) {
                throw .pieceClass(given, fault)
            }
            if place > 0, classes[given].name == classes[order[place - 1]].name {
                throw .pieceClass(given, .repeated)
            }
        }
        var rank = [Int](repeating: 0, count: classes.count)
        for (place, given) in order.enumerated() { rank[given] = place }
        let isRanked = rank.elementsEqual(rank.indices)
        var checked: [Rule] = []
        checked.reserveCapacity(rules.count)
        for (given, rule) in rules.enumerated() {
            let fault = rule.fault(
                recordCount: vocabularyCount + phraseCount, phraseCount: phraseCount,
                classCount: classes.count, contextDimensions: contextDimensions)
            if let fault { throw .rule(given, fault) }
            checked.append(isRanked ? rule.withoutNegativeZeros : rule.withoutNegativeZeros.withClasses { rank[$0] })
        }
        self.rules = try Self.ordered(checked)
        index = try RuleIndex(self.rules, classes: self.classes)
        facts = self.rules.map {
            Facts(
                worth: $0.worth, record: UInt32(vocabularyCount) + $0.phrase, edit: $0.edit,
                looksAtContext: !$0.context.isEmpty)
        }
        onlyAddsWorths = facts.allSatisfy { $0.edit == .add && !$0.looksAtContext && abs($0.worth) <= 0.5 }
    }

    /// In canonical order. Rules that are in it already, as those of a file, cost no sort.
    private static func ordered(_ rules: [Rule]) throws(RuleError) -> [Rule] {
        var last: [UInt32] = []
        let isAscending = rules.allSatisfy { rule in
            let key = rule.identity
            defer { last = key }
            return last.lexicographicallyPrecedes(key)
        }
        if isAscending { return rules }
        var ranked = rules.enumerated().map { (key: $1.identity, given: $0) }
        ranked.sort { $0.key.lexicographicallyPrecedes($1.key) || ($0.key == $1.key && $0.given < $1.given) }
        for place in ranked.indices.dropFirst() where ranked[place].key == ranked[place - 1].key {
            throw .rule(ranked[place].given, .repeated)
        }
        return ranked.map { rules[$0.given] }
    }

    private static func check(_ count: Int, _ what: RuleQuantity, _ maximum: Int) throws(RuleError) {
        guard count <= maximum else { throw .tooMany(what, count: count, maximum: maximum) }
    }

    private static func fault(of pieceClass: PieceClass, recordCount: Int) -> RuleFault? {
        let name = Array(pieceClass.name.utf8)
        guard (1...RuleLimits.maximumNameBytes).contains(name.count), name.allSatisfy(isNameByte) else {
            return .name
        }
        guard let last = pieceClass.members.last else { return .emptyClass }
        return last < recordCount ? nil : .unknownRecord
    }

    static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
        case UInt8(ascii: "-"), UInt8(ascii: "_"): true
        default: false
        }
    }
}

extension RuleSet: Equatable {
    package static func == (a: RuleSet, b: RuleSet) -> Bool {
        a.vocabularyCount == b.vocabularyCount && a.phraseCount == b.phraseCount
            && a.contextDimensions == b.contextDimensions && a.classes == b.classes && a.rules == b.rules
    }
}

extension Pattern {
    /// All elements; of a trigger the item itself, then its class.
    package var elements: [PatternElement] {
        switch self {
        case .sequence(let elements, gaps: _): elements
        case .trigger(let element, near: let index, reach: _): [element, .pieceClass(index)]
        }
    }
}

extension PatternElement {
    /// 31 bits of id, and the top bit for a class.
    static let classBit: UInt32 = 1 << 31

    var code: UInt32 {
        switch self {
        case .record(let id): id
        case .pieceClass(let index): Self.classBit | UInt32(index)
        }
    }

    init(code: UInt32) {
        self = code & Self.classBit == 0 ? .record(code) : .pieceClass(Int(code & ~Self.classBit))
    }
}

extension Rule {
    fileprivate func fault(
        recordCount: Int, phraseCount: Int, classCount: Int, contextDimensions: Int
    ) -> RuleFault? {
        switch pattern {
        case .sequence(let elements, let gaps):
            guard RuleLimits.elements.contains(elements.count) else { return .elementCount }
            guard gaps.count == elements.count - 1, gaps.allSatisfy({ $0 <= RuleLimits.maximumGap }) else {
                return .gap
            }
            if edit == .replace, gaps.contains(where: { $0 > 0 }) { return .replacesGap }
        case .trigger(_, near: _, let reach):
            guard RuleLimits.reach.contains(reach) else { return .reach }
        }
        for element in pattern.elements {
            switch element {
            case .record(let id) where id >= recordCount: return .unknownRecord
            case .pieceClass(let index) where !(0..<classCount).contains(index): return .unknownClass
            default: break
            }
        }
        guard phrase < phraseCount else { return .unknownPhrase }
        guard context.isEmpty || context.count == contextDimensions else { return .context }
        let isFinite = worth.isFinite && coefficient.isFinite && offset.isFinite && context.allSatisfy(\.isFinite)
        return isFinite ? nil : .notFinite
    }

    /// What no other rule of the set may have; it orders them too.
    var identity: [UInt32] {
        var key: [UInt32] = []
        key.reserveCapacity(12)
        let isSequence = if case .sequence = pattern { true } else { false }
        key.append(isSequence ? 0 : 1)
        for element in pattern.elements { key.append(element.code) }
        switch pattern {
        case .sequence(_, let gaps): for gap in gaps { key.append(UInt32(gap)) }
        case .trigger(_, near: _, let reach): key.append(UInt32(reach))
        }
        key.append(UInt32(edit.rawValue))
        key.append(phrase)
        return key
    }

    /// So that equal rules have equal bytes.
    var withoutNegativeZeros: Rule {
        var rule = self
        rule.worth += 0
        rule.coefficient += 0
        rule.offset += 0
        for index in context.indices { rule.context[index] += 0 }
        return rule
    }

    /// The same rule with its classes renumbered.
    package func withClasses(_ rank: (Int) -> Int) -> Rule {
        func moved(_ element: PatternElement) -> PatternElement {
            if case .pieceClass(let index) = element { .pieceClass(rank(index)) } else { element }
        }
        var rule = self
        switch pattern {
        case .sequence(let elements, let gaps): rule.pattern = .sequence(elements.map(moved), gaps: gaps)
        case .trigger(let element, near: let index, let reach):
            rule.pattern = .trigger(moved(element), near: rank(index), reach: reach)
        }
        return rule
    }
}
