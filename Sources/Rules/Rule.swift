/// When a program may change, and how: a pattern over its items, an edit, and the numbers of its bid.
///
/// The bid of a match is `worth + coefficient · (context · c − offset)` with `c` the context feature of the text
/// (`algorithm.md`, section 6); without a context vector the product is 0.
package struct Rule: Sendable, Hashable {
    package var pattern: Pattern
    package var edit: Edit
    /// Phrase f of the model: record `vocabularyCount + f`.
    package var phrase: UInt32
    /// g of the formula.
    package var worth: Float
    /// a of the formula.
    package var coefficient: Float
    package var offset: Float
    /// As long as the rule set's `contextDimensions`, or empty.
    package var context: [Float]

    package init(
        _ pattern: Pattern, _ edit: Edit, phrase: UInt32, worth: Float, coefficient: Float = 0,
        offset: Float = 0,
        context: [Float] = []
    ) {
        self.pattern = pattern
        self.edit = edit
        self.phrase = phrase
        self.worth = worth
        self.coefficient = coefficient
        self.offset = offset
        self.context = context
    }
}

/// What a match does with the items that it covers.
package enum Edit: UInt8, Sendable, CaseIterable {
    /// One phrase item takes their place. Only for patterns that skip nothing.
    case replace
    /// They stay, and a phrase item is added behind the text.
    case add
}

/// One item of a pattern: a record, or any member of a piece class.
package enum PatternElement: Sendable, Hashable {
    case record(UInt32)
    /// Index of a class in the rule set.
    case pieceClass(Int)
}

/// Where a rule may bid. Patterns look at the items of a program's body, so at phrases as well as at pieces.
package enum Pattern: Sendable, Hashable {
    /// The elements in this order; before element i + 1 up to `gaps[i]` items may be skipped. With all gaps 0 it is
    /// an adjacent n-gram. It covers everything from its first to its last item. From one start there is one match:
    /// the one with the smallest gaps, the first gap first.
    case sequence([PatternElement], gaps: [UInt8])
    /// An item with a member of a class at most `reach` items away on either side. It covers the trigger alone.
    case trigger(PatternElement, near: Int, reach: UInt8)

    /// An adjacent n-gram.
    package static func adjacent(_ elements: [PatternElement]) -> Pattern {
        .sequence(elements, gaps: [UInt8](repeating: 0, count: max(0, elements.count - 1)))
    }

    /// An adjacent n-gram of records.
    package static func adjacent(records: UInt32...) -> Pattern { adjacent(records.map { .record($0) }) }
}

/// A named set of records that a pattern may use in the place of one.
package struct PieceClass: Sendable, Hashable {
    /// Letters a–z, digits, `-` and `_`; unique in its rule set.
    package let name: String
    /// Ascending.
    package let members: [UInt32]

    package init(_ name: String, _ members: some Sequence<UInt32>) {
        self.name = name
        self.members = Set(members).sorted()
    }
}

/// What a rule set may hold; larger ones are refused wherever they come from.
package enum RuleLimits {
    package static let elements = 2...5
    package static let maximumGap: UInt8 = 3
    package static let reach: ClosedRange<UInt8> = 1...8
    package static let maximumRules = 1 << 20
    package static let maximumClasses = 1 << 12
    package static let maximumNameBytes = 64
    package static let maximumContextDimensions = 1024
    /// Pieces and phrases; the index takes a bit for each, 2 MB at most.
    package static let maximumRecords = 1 << 24
    /// (record, rule) pairs of the index: 8 bytes each. A rule whose rarest element is a class takes one for each
    /// member.
    package static let maximumPostings = 1 << 22
}
