package import Rules

/// Rule sets over a small vocabulary, so that matches are many and overlap.
package struct GeneratedRules: Sendable {
    package var pieces = 6
    package var phrases = 4
    /// Whether a pattern may hold phrases, so that rules build on each other.
    package var nests = true
    package var hasGaps = true
    package var hasTriggers = true
    package var contextDimensions = 2

    package init() {}

    /// A set of up to `size` rules.
    package func ruleSet(size: Int, using random: inout SeededRandom) -> RuleSet {
        let classes = (0..<Int.random(in: 0..<3, using: &random)).map { index in
            PieceClass(
                "class-\(index)",
                (0..<Int.random(in: 1..<4, using: &random)).map { _ in record(using: &random) })
        }
        var identities = Set<[AnyHashable]>()
        let rules = (0..<size).map { _ in rule(classCount: classes.count, using: &random) }
            .filter { identities.insert([$0.pattern, $0.edit, $0.phrase]).inserted }
        do {
            return try RuleSet(
                vocabularyCount: pieces, phraseCount: phrases, contextDimensions: contextDimensions,
                classes: classes, rules: rules)
        } catch { preconditionFailure("\(error)") }
    }

    /// The pieces of a text.
    package func text(size: Int, using random: inout SeededRandom) -> [UInt32] {
        (0..<size).map { _ in UInt32.random(in: 0..<UInt32(pieces), using: &random) }
    }

    package func context(using random: inout SeededRandom) -> [Float] {
        (0..<contextDimensions).map { _ in Float.random(in: -1...1, using: &random) }
    }

    private func record(using random: inout SeededRandom) -> UInt32 {
        UInt32.random(in: 0..<UInt32(nests ? pieces + phrases : pieces), using: &random)
    }

    private func element(classCount: Int, using random: inout SeededRandom) -> PatternElement {
        classCount > 0 && Int.random(in: 0..<4, using: &random) == 0
            ? .pieceClass(Int.random(in: 0..<classCount, using: &random)) : .record(record(using: &random))
    }

    private func rule(classCount: Int, using random: inout SeededRandom) -> Rule {
        let pattern: Pattern
        var edit = Edit.allCases[Int.random(in: 0..<2, using: &random)]
        let elements = (0..<Int.random(in: 2...3, using: &random)).map { _ in
            element(classCount: classCount, using: &random)
        }
        switch Int.random(in: 0..<4, using: &random) {
        case 0 where hasTriggers && classCount > 0:
            pattern = .trigger(
                elements[0], near: Int.random(in: 0..<classCount, using: &random),
                reach: UInt8.random(in: 1...3, using: &random))
        case 1 where hasGaps:
            edit = .add
            pattern = .sequence(
                elements, gaps: elements.dropFirst().map { _ in UInt8.random(in: 0...3, using: &random) })
        default: pattern = .adjacent(elements)
        }
        let hasContext = contextDimensions > 0 && Bool.random(using: &random)
        return Rule(
            pattern, edit, phrase: UInt32.random(in: 0..<UInt32(phrases), using: &random),
            worth: Float.random(in: -0.5...2, using: &random),
            coefficient: hasContext ? Float.random(in: -1...1, using: &random) : 0,
            offset: hasContext ? Float.random(in: -1...1, using: &random) : 0,
            context: hasContext ? context(using: &random) : [])
    }
}
