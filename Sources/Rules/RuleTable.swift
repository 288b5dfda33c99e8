/// Rules in columns: flat memory, 30 bytes a rule of two elements without a context, given back in a few large pieces. Reading an element
/// makes a `Rule`, with its arrays; the columns are read without.
package struct RuleTable: RandomAccessCollection, Sendable, Equatable {
    /// In 8 bytes: there is one a rule, looked at here and there.
    struct Shape: Sendable, Equatable {
        /// Elements `start ..< start + count` of `codes`; of a trigger the item and the class.
        private let (first, elements): (UInt32, UInt8)
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

    private let vocabularyCount: UInt32
    private let contextDimensions: Int
    private(set) var shapes: [Shape] = []
    private(set) var codes: [UInt32] = []
    /// Up to how many items may be skipped before the element.
    private(set) var gaps: [UInt8] = []
    private(set) var facts: [RuleSet.Facts] = []
    // These are empty as long as all that they would hold is 0, or no context.
    private var coefficients: [Float] = []
    private var offsets: [Float] = []
    /// Which of `contexts` is the rule's, of those that have one.
    private var contextPlaces: [UInt32] = []
    private var contexts: [Float] = []

    init(vocabularyCount: Int, contextDimensions: Int) {
        self.vocabularyCount = UInt32(clamping: vocabularyCount)
        self.contextDimensions = contextDimensions
    }

    package var startIndex: Int { 0 }
    package var endIndex: Int { shapes.count }
    package subscript(rule: Int) -> Rule { Rule(row(rule)) }

    /// Room for this many rules of two elements.
    mutating func reserve(_ count: Int) {
        shapes.reserveCapacity(count)
        codes.reserveCapacity(2 * count)
        gaps.reserveCapacity(2 * count)
        facts.reserveCapacity(count)
    }

    /// - Parameter row: one without faults, whose anchor is this element.
    mutating func append(_ row: RuleRow, anchor: Int) {
        let reach = row.isTrigger ? Int(row.gaps[0]) : 0
        shapes.append(
            Shape(start: codes.count, count: row.elementCount, anchor: anchor, span: row.span, triggerReach: reach))
        for place in 0..<row.elementCount {
            codes.append(row.codes[place])
            gaps.append(place == 0 || row.isTrigger ? 0 : row.gaps[place - 1])
        }
        let hasContext = !row.context.isEmpty
        if hasContext || !contextPlaces.isEmpty {
            contextPlaces.reserveCapacity(facts.capacity)
            while contextPlaces.count < facts.count { contextPlaces.append(0) }
            contextPlaces.append(contextDimensions == 0 ? 0 : UInt32(contexts.count / contextDimensions))
            contexts += row.context
        }
        Self.append(row.coefficient, to: &coefficients, behind: facts.count)
        Self.append(row.offset, to: &offsets, behind: facts.count)
        facts.append(
            RuleSet.Facts(
                worth: row.worth, record: vocabularyCount + row.phrase, edit: row.edit, looksAtContext: hasContext))
    }

    private static func append(_ number: Float, to column: inout [Float], behind count: Int) {
        guard number != 0 || !column.isEmpty else { return }
        while column.count < count { column.append(0) }
        column.append(number)
    }

    /// A rule as it was appended.
    package func row(_ rule: Int) -> RuleRow {
        let (shape, facts) = (shapes[rule], facts[rule])
        var row = RuleRow(shape.triggerReach > 0 ? .trigger : .sequence, facts.edit, elementCount: shape.count)
        for place in 0..<shape.count {
            row.codes[place] = codes[shape.start + place]
            if place > 0 { row.gaps[place - 1] = gaps[shape.start + place] }
        }
        if row.isTrigger { row.gaps[0] = UInt8(shape.triggerReach) }
        row.phrase = facts.record - vocabularyCount
        (row.worth, row.coefficient, row.offset) = (facts.worth, coefficient(of: rule), offset(of: rule))
        if facts.looksAtContext { row.context = Array(contexts[contextRange(of: rule)]) }
        return row
    }

    func coefficient(of rule: Int) -> Float { coefficients.isEmpty ? 0 : coefficients[rule] }

    func offset(of rule: Int) -> Float { offsets.isEmpty ? 0 : offsets[rule] }

    /// `context · c` of a rule that looks at it, summed in order.
    func product(of rule: Int, _ feature: Span<Float>) -> Float {
        let range = contextRange(of: rule)
        var product: Float = 0
        for index in 0..<contextDimensions { product += contexts[range.lowerBound + index] * feature[index] }
        return product
    }

    private func contextRange(of rule: Int) -> Range<Int> {
        let start = Int(contextPlaces[rule]) * contextDimensions
        return start..<start + contextDimensions
    }

    /// How many rules have a context.
    var contextCount: Int { contextDimensions == 0 ? 0 : contexts.count / contextDimensions }
}

/// The canonical order: kind, elements, gaps or reach, edit, phrase, as one sequence of numbers. No two rules of a set are equal
/// in it.
extension RuleTable {
    /// The first three of these, in one number.
    func leadingKey(_ rule: Int) -> UInt64 {
        let shape = shapes[rule]
        // 24 bits of record, or 12 of class, and the bit that says which.
        func short(_ code: UInt32) -> UInt64 { code.isClass ? 1 << 24 | UInt64(code.classIndex) : UInt64(code) }
        return (shape.triggerReach > 0 ? 1 << 50 : 0) | short(codes[shape.start]) << 25 | short(codes[shape.start + 1])
    }

    /// Below, equal or above 0 as rule `a` comes before rule `b`, is equal to it in the order, or comes behind it.
    func order(_ a: Int, _ b: Int) -> Int {
        var place = 0
        while true {
            let (left, right) = (orderingNumber(place, of: a), orderingNumber(place, of: b))
            guard let left else { return right == nil ? 0 : -1 }
            guard let right else { return 1 }
            if left != right { return left < right ? -1 : 1 }
            place += 1
        }
    }

    /// Number `place` of the sequence, or nil behind its end.
    private func orderingNumber(_ place: Int, of rule: Int) -> UInt32? {
        let shape = shapes[rule]
        let isTrigger = shape.triggerReach > 0
        if place == 0 { return isTrigger ? 1 : 0 }
        var place = place - 1
        if place < shape.count { return codes[shape.start + place] }
        place -= shape.count
        let gapCount = isTrigger ? 1 : shape.count - 1
        if place < gapCount { return isTrigger ? UInt32(shape.triggerReach) : UInt32(gaps[shape.start + 1 + place]) }
        switch place - gapCount {
        case 0: return UInt32(facts[rule].edit.rawValue)
        // Not the record: it is compared with gaps and edits of rules with other numbers of elements.
        case 1: return facts[rule].record - vocabularyCount
        default: return nil
        }
    }

    /// Whether the last rule comes behind the one before it.
    var endsInOrder: Bool {
        guard count > 1 else { return true }
        let (before, last) = (leadingKey(count - 2), leadingKey(count - 1))
        return before == last ? order(count - 2, count - 1) < 0 : before < last
    }

    /// The same rules in canonical order.
    /// - Throws: `repeated` with the later one of two that are equal in it.
    func ordered() throws(RuleError) -> RuleTable {
        var ranked = indices.map { (key: leadingKey($0), given: $0) }
        ranked.sort { a, b in
            guard a.key == b.key else { return a.key < b.key }
            let order = order(a.given, b.given)
            return order == 0 ? a.given < b.given : order < 0
        }
        var table = RuleTable(vocabularyCount: Int(vocabularyCount), contextDimensions: contextDimensions)
        table.reserve(count)
        for (place, rule) in ranked.enumerated() {
            if place > 0, ranked[place - 1].key == rule.key, order(ranked[place - 1].given, rule.given) == 0 {
                throw .rule(rule.given, .repeated)
            }
            table.append(row(rule.given), anchor: shapes[rule.given].anchor)
        }
        return table
    }
}
