/// The words of the machine that this version has.
package enum Word: UInt8, Sendable, CaseIterable {
    /// `LEXEME id`: pushes the vector of a piece.
    case lexeme
    /// `SCALE f`: multiplies the vector on top.
    case scale
    /// `ADD`: pops a vector and adds it to the sum x.
    case add
    /// `NORMALIZE`: pushes x / |x|.
    case normalize
    case dup, swap, over, drop
    /// `DOT`: pops two vectors and pushes their product, a scalar.
    case dot

    package var name: String {
        switch self {
        case .lexeme: "LEXEME"
        case .scale: "SCALE"
        case .add: "ADD"
        case .normalize: "NORMALIZE"
        case .dup: "DUP"
        case .swap: "SWAP"
        case .over: "OVER"
        case .drop: "DROP"
        case .dot: "DOT"
        }
    }
}

/// One step of a program: a word with what stands behind it.
package enum Instruction: Sendable, Equatable {
    case lexeme(UInt32)
    case scale(Float)
    case add, normalize, dup, swap, over, drop, dot

    package var word: Word {
        switch self {
        case .lexeme: .lexeme
        case .scale: .scale
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
