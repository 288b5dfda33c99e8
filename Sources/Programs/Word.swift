/// The words of the machine.
package enum Word: UInt8, Sendable, CaseIterable {
    /// `LEXEME id`: pushes the meaning of a piece.
    case lexeme
    /// `PHRASE f`: pushes the meaning of a phrase.
    case phrase
    /// `RULE r`: pushes the vector of a context rule.
    case rule
    /// `SCALE f`: multiplies the vector on top.
    case scale
    /// `ADD`: pops a vector and adds it to the sum x.
    case add
    /// `COUPLE p q o`: adds e_o ⊙ l ⊙ h of two records, by id, to the features z.
    case couple
    /// `LIFT f`: adds U (f z) to the sum x and clears z.
    case lift
    /// `NORMALIZE`: pushes x / |x| and clears x.
    case normalize
    case dup, swap, over, drop
    /// `DOT`: pops two vectors and pushes their product, a scalar.
    case dot

    package var name: String {
        switch self {
        case .lexeme: "LEXEME"
        case .phrase: "PHRASE"
        case .rule: "RULE"
        case .scale: "SCALE"
        case .add: "ADD"
        case .couple: "COUPLE"
        case .lift: "LIFT"
        case .normalize: "NORMALIZE"
        case .dup: "DUP"
        case .swap: "SWAP"
        case .over: "OVER"
        case .drop: "DROP"
        case .dot: "DOT"
        }
    }

    /// Numbers that follow the word.
    package var operandCount: Int {
        switch self {
        case .lexeme, .phrase, .rule, .scale, .lift: 1
        case .couple: 3
        default: 0
        }
    }
}

/// One step of a program: a word with what stands behind it.
package enum Instruction: Sendable, Equatable {
    case lexeme(UInt32)
    case phrase(UInt32)
    case rule(UInt32)
    case scale(Float)
    /// Two records, by id, and their offset, 1 or 2.
    case couple(UInt32, UInt32, offset: UInt32)
    case lift(Float)
    case add, normalize, dup, swap, over, drop, dot

    package var word: Word {
        switch self {
        case .lexeme: .lexeme
        case .phrase: .phrase
        case .rule: .rule
        case .scale: .scale
        case .couple: .couple
        case .lift: .lift
        case .add: .add
        case .normalize: .normalize
        case .dup: .dup
        case .swap: .swap
        case .over: .over
        case .drop: .drop
        case .dot: .dot
        }
    }
}
