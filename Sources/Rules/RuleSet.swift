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
    package let rules: RuleTable
    let index: RuleIndex
    /// What annealing asks of a rule, rule after rule: the column of `rules`, held here because another module reads it in its hot path.
    package let facts: [Facts]

    package struct Facts: Sendable, Equatable {
        package var worth: Float
        /// Of its phrase.
        package var record: UInt32
        package var edit: Edit
        package var looksAtContext: Bool
    }

    /// Every rule adds, and its bid is its worth, ±0.5 at most.
    package let onlyAddsWorths: Bool

    /// Which phrase a rule brings.
    package func phrase(of rule: Int) -> Int { Int(facts[rule].record) - vocabularyCount }

    package var recordCount: Int { vocabularyCount + phraseCount }
    package let isEmpty: Bool

    /// The most items that lie between the first and the last item that a match depends on.
    package var reach: Int { index.reach }

    /// Checks everything, and builds the index.
    /// - Throws: `rule` and `pieceClass` with the index in the order given; `tooMany`.
    package init(
        vocabularyCount: Int, phraseCount: Int, contextDimensions: Int = 0, classes: [PieceClass] = [],
        rules: [Rule] = []
    ) throws(RuleError) {
        var builder = try RuleSetBuilder(
            vocabularyCount: vocabularyCount, phraseCount: phraseCount, contextDimensions: contextDimensions,
            classes: classes, ruleCount: rules.count)
        builder.reserve(rules.count)
        for (given, rule) in rules.enumerated() {
            let row: RuleRow
            do throws(RuleFault) { row = try RuleRow(rule) } catch { throw .rule(given, error) }
            try builder.append(row)
        }
        self = try builder.finish()
    }

    /// - Parameters:
    ///   - classes: ascending by name.
    ///   - rules: without faults, in canonical order.
    init(phraseCount: Int, vocabularyCount: Int, contextDimensions: Int, classes: [PieceClass], rules: RuleTable) throws(RuleError) {
        self.vocabularyCount = vocabularyCount
        self.phraseCount = phraseCount
        self.contextDimensions = contextDimensions
        self.classes = classes
        self.rules = rules
        facts = rules.facts
        isEmpty = rules.isEmpty
        index = try RuleIndex(rules, classes: classes)
        onlyAddsWorths = rules.facts.allSatisfy { $0.edit == .add && !$0.looksAtContext && abs($0.worth) <= 0.5 }
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

extension Rule {
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
