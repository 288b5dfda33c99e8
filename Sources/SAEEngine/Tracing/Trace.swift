package import Diagnostics
package import Programs

/// How one text became its vector (algorithm.md, sections 1 to 7): every step, and what each part of the program gave.
///
/// The vector is a sum of parts, one for each item, coupling and context rule that fired. The **share** of a part is its
/// product with the vector: the shares of all parts add up to 1, up to rounding. A negative share pulls away.
package struct Trace: Sendable {
    package var modelName: String
    package var generation: UInt64
    package var numerics: String
    package var text: [UInt8]
    /// Nil for infinite.
    package var degrees: Float?
    package var pieces: [Piece]
    /// Nil where no discrete rule took part: the model has none, or the temperature is infinite.
    package var annealing: Annealing?
    /// In the order of the program.
    package var items: [Item]
    package var couplings: [Coupling]
    /// Ascending by rule.
    package var rules: [FiredRule]
    /// Context rules of the model.
    package var ruleCount: Int
    package var steps: [Step]
    /// Run by `Machine`, it gives `vector` bit for bit.
    package var program: [Instruction]
    package var vector: [Float]
    /// What the vector is a sum of.
    package var parts: VectorParts

    /// A piece as the tokenizer read it.
    package struct Piece: Sendable, Equatable {
        package var id: UInt32
        /// As the vocabulary spells it: U+2581 for the space before a word.
        package var text: String
        /// Where it stands in the text, in bytes.
        package var bytes: Range<Int>
    }

    /// An item of the program when rewriting has stopped.
    package struct Item: Sendable, Equatable {
        /// Pieces first, then phrases.
        package var record: UInt32
        package var isPhrase: Bool
        /// The pieces that it stands for.
        package var pieces: ClosedRange<Int>
        /// The pieces' texts in a row.
        package var text: String
        package var logWeight: LogWeight
        /// What its meaning is multiplied by.
        package var weight: Float
        package var share: Float
    }

    /// −E of an item, by where it comes from; the weight is exp(−E / T), between e⁻⁴ and e⁴. All 0 where no gate took
    /// part.
    package struct LogWeight: Sendable, Equatable {
        package var bias: Float = 0
        package var context: Float = 0
        /// From the items at −2, −1, +1 and +2; 0 where there is none.
        package var neighbours: [Float] = [0, 0, 0, 0]

        package var sum: Float { bias + context + neighbours.reduce(0, +) }
    }

    /// Two items whose meanings make a feature that neither has.
    package struct Coupling: Sendable, Equatable {
        /// Indices of items.
        package var left: Int
        package var right: Int
        package var offset: Int
        /// Length of its part of the vector.
        package var strength: Float
        package var share: Float
    }

    /// A context rule that fired.
    package struct FiredRule: Sendable, Equatable {
        package var rule: UInt32
        package var bid: Float
        /// Length of its part of the vector.
        package var strength: Float
        /// Between the rule's own vector and the text's: whether it pulls towards it.
        package var cosine: Float
        package var share: Float
        /// What made it fire: the items that gave most to its bid, most first, at most three.
        package var causes: [Cause]
    }

    /// What an item gave to a bid.
    package struct Cause: Sendable, Equatable {
        package var item: Int
        package var amount: Float
    }

    /// The vector after a step, if the program ended there.
    package struct Step: Sendable, Equatable {
        package var name: StepName
        package var vector: [Float]
        /// To the final vector.
        package var cosine: Float
    }

    package enum StepName: String, Sendable {
        /// The plain sum of the items.
        case bag
        /// With their weights.
        case gates
        case couplings
        case rules
    }

    /// The program as text.
    package var source: String { ForthSyntax.print(program) }
}

/// Why there is no trace of a text: it has no vector.
package struct TraceError: UserFacingError {
    package var status: RowStatus
    package var limits: TextLimits

    package var summary: String { status.reason(limits) ?? "the text has a vector" }

    package var remedy: String? { nil }
    package var category: ErrorCategory { .invalidInput }
}
