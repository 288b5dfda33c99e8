/// A rule in a fixed size: no arrays but that of a context. Readers of many rules make these, and `RuleTable` keeps them.
package struct RuleRow: Sendable {
    package enum Kind: UInt8, Sendable { case sequence, trigger }

    package var kind: Kind
    package var edit: Edit
    /// One of `RuleLimits.elements`; of a trigger 2.
    package var elementCount: Int
    /// `PatternElement.code` of each element; of a trigger the item, then its class.
    package var codes = SIMD8<UInt32>()
    /// Before element i + 1 up to `gaps[i]` items may be skipped; of a trigger `gaps[0]` is its reach.
    package var gaps = SIMD8<UInt8>()
    package var phrase: UInt32 = 0
    package var worth: Float = 0
    package var coefficient: Float = 0
    package var offset: Float = 0
    package var context: [Float] = []

    package init(_ kind: Kind, _ edit: Edit, elementCount: Int) {
        self.kind = kind
        self.edit = edit
        self.elementCount = elementCount
    }

    /// - Throws: `elementCount` or `gap` when it has as many that they have no place here.
    init(_ rule: Rule) throws(RuleFault) {
        switch rule.pattern {
        case .sequence(let elements, let gaps):
            guard RuleLimits.elements.contains(elements.count) else { throw .elementCount }
            guard gaps.count == elements.count - 1 else { throw .gap }
            self.init(.sequence, rule.edit, elementCount: elements.count)
            for (place, element) in elements.enumerated() { codes[place] = element.code }
            for (place, gap) in gaps.enumerated() { self.gaps[place] = gap }
        case .trigger(let element, near: let index, let reach):
            self.init(.trigger, rule.edit, elementCount: 2)
            codes[0] = element.code
            codes[1] = PatternElement.pieceClass(index).code
            gaps[0] = reach
        }
        phrase = rule.phrase
        (worth, coefficient, offset, context) = (rule.worth, rule.coefficient, rule.offset, rule.context)
    }

    var isTrigger: Bool { kind == .trigger }

    /// How many of `gaps` count.
    package var gapCount: Int { isTrigger ? 1 : elementCount - 1 }

    /// The most items from the first to the last.
    var span: Int { isTrigger ? 1 : elementCount + Int(gaps.wrappedSum()) }

    /// The condition that it breaks, or nil.
    func fault(recordCount: Int, phraseCount: Int, classCount: Int, contextDimensions: Int) -> RuleFault? {
        switch kind {
        case .sequence:
            guard gaps.max() <= RuleLimits.maximumGap else { return .gap }
            if edit == .replace, gaps.max() > 0 { return .replacesGap }
        case .trigger:
            guard RuleLimits.reach.contains(gaps[0]) else { return .reach }
        }
        for place in 0..<elementCount {
            let code = codes[place]
            if code.isClass {
                guard Int(code.classIndex) < classCount else { return .unknownClass }
            } else {
                guard Int(code) < recordCount else { return .unknownRecord }
            }
        }
        guard Int(phrase) < phraseCount else { return .unknownPhrase }
        guard context.isEmpty || context.count == contextDimensions else { return .context }
        let isFinite = worth.isFinite && coefficient.isFinite && offset.isFinite && context.allSatisfy(\.isFinite)
        return isFinite ? nil : .notFinite
    }

    /// So that equal rules have equal bytes.
    mutating func dropNegativeZeros() {
        worth += 0
        coefficient += 0
        offset += 0
        for index in context.indices { context[index] += 0 }
    }

    mutating func renumberClasses(_ rank: [Int]) {
        for place in 0..<elementCount where codes[place].isClass {
            codes[place] = PatternElement.classBit | UInt32(rank[Int(codes[place].classIndex)])
        }
    }

    /// Of its elements the one by which it is found (`RuleIndex`).
    /// - Parameter memberCounts: of each class.
    func anchor(_ memberCounts: [Int]) -> Int {
        guard !isTrigger else { return 0 }
        func rarity(_ place: Int) -> Int {
            codes[place].isClass ? -memberCounts[Int(codes[place].classIndex)] : Int(codes[place])
        }
        var (anchor, rarest) = (0, rarity(0))
        for place in (gaps.max() > 0 ? elementCount - 1 : 1)..<elementCount {
            let rarity = rarity(place)
            if rarity > rarest { (anchor, rarest) = (place, rarity) }
        }
        return anchor
    }
}

extension Rule {
    package init(_ row: RuleRow) {
        let elements = (0..<row.elementCount).map { PatternElement(code: row.codes[$0]) }
        let pattern: Pattern
        switch row.kind {
        case .sequence: pattern = .sequence(elements, gaps: (0..<row.elementCount - 1).map { row.gaps[$0] })
        case .trigger: pattern = .trigger(elements[0], near: Int(row.codes[1].classIndex), reach: row.gaps[0])
        }
        self.init(
            pattern, row.edit, phrase: row.phrase, worth: row.worth, coefficient: row.coefficient, offset: row.offset,
            context: row.context)
    }
}

extension PatternElement {
    /// 31 bits of id, and the top bit for a class.
    package static let classBit: UInt32 = 1 << 31

    /// An id or index that has no place in it becomes the greatest one, which no rule set has.
    var code: UInt32 {
        switch self {
        case .record(let id): min(id, Self.classBit - 1)
        case .pieceClass(let index): Self.classBit | (UInt32(exactly: index).map { min($0, Self.classBit - 1) } ?? (Self.classBit - 1))
        }
    }

    package init(code: UInt32) { self = code.isClass ? .pieceClass(Int(code.classIndex)) : .record(code) }
}

extension UInt32 {
    var isClass: Bool { self & PatternElement.classBit != 0 }
    var classIndex: UInt32 { self & ~PatternElement.classBit }
}
