package import Rules

/// What a search tells about its result, beyond the generations.
package struct SearchReport: Sendable {
    /// The best rule set of a cell of the archive.
    package struct Cell: Sendable {
        package let row: Int
        package let column: Int
        package let byteCount: Int
        package let microseconds: Double
        package let cosine: Double
        package let ruleCount: Int
    }

    /// The rules of a family in the best rule set.
    package struct Family: Sendable {
        package let name: String
        package let ruleCount: Int
        package let byteCount: Int
        package let editsPerText: Double
    }

    /// The best rule set with something taken away, measured with the engine.
    package struct Ablation: Sendable {
        package let name: String
        package let ruleCount: Int
        package let heldOutCosine: Double
        package let checkCosine: Double
    }

    /// A rule, and sentences that it changed.
    package struct Story: Sendable {
        package struct Sentence: Sendable {
            package let text: String
            /// Cosine to the teacher without the rule, and with it.
            package let before: Double
            package let after: Double
        }

        package let pattern: Pattern
        package let family: String
        /// Deciding texts in which it applies, and its mean gain there.
        package let useCount: Int
        package let gain: Double
        /// Those that gained most, and at the end the one that lost most or gained least.
        package let sentences: [Sentence]
    }

    /// One of the winner's ancestors.
    package struct Ancestor: Sendable {
        package let number: Int
        package let parents: [Int]
        package let operation: String
        package let round: Int
        package let island: Int
        package let cosine: Double
        package let ruleCount: Int
    }

    /// The estimated time that the rules of a column of the archive take, at least.
    package static func microseconds(column: Int) -> Double {
        CostModel.microseconds(ruleCount: 1, editsPerText: Double(column) / Archive.columnsPerEdit)
    }

    package let candidateCount: Int
    package let patternCount: Int
    package let evaluationCount: Int
    package let textCounts: (fitting: Int, deciding: Int, heldOut: Int)
    package let cells: [Cell]
    package let families: [Family]
    package let ablations: [Ablation]
    package let stories: [Story]
    /// Classes that the patterns of `stories` use.
    package let classes: [PieceClass]
    /// The oldest first.
    package let lineage: [Ancestor]
}
