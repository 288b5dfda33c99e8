package import Diagnostics
package import Vectors

/// Why a program stopped early; `at` counts words from 0.
package enum Trap: UserFacingError, Equatable {
    case underflow(word: Word, at: Int)
    case overflow(at: Int)
    case unknownLexeme(UInt32, at: Int)
    case typeMismatch(word: Word, at: Int)
    case notFinite(at: Int)
    case outOfFuel(at: Int)
    case noVector

    package var summary: String {
        switch self {
        case .underflow(let word, let at): "word \(at), \(word.name): too little on the stack"
        case .overflow(let at): "word \(at): the stack is full (\(Machine.maximumDepth) values)"
        case .unknownLexeme(let id, let at): "word \(at): there is no lexeme \(id)"
        case .typeMismatch(let word, let at): "word \(at), \(word.name): needs vectors and found a scalar"
        case .notFinite(let at): "word \(at): the vector has no finite, non-zero length"
        case .outOfFuel(let at): "word \(at): out of fuel"
        case .noVector: "the program ends without exactly one vector on the stack"
        }
    }

    package var remedy: String? { nil }
    package var category: ErrorCategory { .invalidInput }
}

/// The stack machine that defines what a program means. The engine's fast path computes the same sums in the same
/// order.
///
/// A vector on the stack is a coefficient and elements: LEXEME pushes (scale of the row, its int8 elements),
/// SCALE multiplies the coefficient, ADD adds coefficient · element to the register x, each product and each sum
/// rounded to float32.
package struct Machine {
    package static let maximumDepth = 64

    private enum Value {
        case vector(coefficient: Float, elements: [Float])
        case scalar(Float)
    }

    private let lexemes: RowTable
    private var stack: [Value] = []
    private var x: [Float]

    package init(lexemes: RowTable) {
        self.lexemes = lexemes
        x = [Float](repeating: 0, count: lexemes.dimensions)
    }

    /// Runs a program with at most `fuel` words and returns the one vector it leaves.
    package mutating func run(_ program: [Instruction], fuel: Int) throws(Trap) -> [Float] {
        stack.removeAll()
        x = [Float](repeating: 0, count: lexemes.dimensions)
        for (at, instruction) in program.enumerated() {
            guard at < fuel else { throw .outOfFuel(at: at) }
            try step(instruction, at: at)
            guard stack.count <= Self.maximumDepth else { throw .overflow(at: at) }
        }
        guard stack.count == 1, case .vector(let coefficient, let elements)? = stack.last else {
            throw .noVector
        }
        return materialize(coefficient, elements)
    }

    private mutating func step(_ instruction: Instruction, at: Int) throws(Trap) {
        switch instruction {
        case .lexeme(let id):
            guard id < lexemes.count else { throw .unknownLexeme(id, at: at) }
            stack.append(.vector(coefficient: lexemes.scale(Int(id)), elements: lexemes.elements(Int(id))))
        case .scale(let factor):
            let (coefficient, elements) = try popVector(.scale, at: at)
            stack.append(.vector(coefficient: factor * coefficient, elements: elements))
        case .add:
            let (coefficient, elements) = try popVector(.add, at: at)
            addScaled(coefficient, elements, to: &x)
        case .normalize:
            var unit = x
            guard normalize(x, count: x.count, into: &unit) else { throw .notFinite(at: at) }
            stack.append(.vector(coefficient: 1, elements: unit))
        case .dup: stack.append(try peek(0, .dup, at: at))
        case .over: stack.append(try peek(1, .over, at: at))
        case .swap:
            _ = try peek(1, .swap, at: at)
            stack.swapAt(stack.count - 1, stack.count - 2)
        case .drop:
            _ = try peek(0, .drop, at: at)
            stack.removeLast()
        case .dot:
            let right = try popVector(.dot, at: at)
            let left = try popVector(.dot, at: at)
            stack.append(.scalar(dot(materialize(left.0, left.1), materialize(right.0, right.1))))
        }
    }

    private func peek(_ depth: Int, _ word: Word, at: Int) throws(Trap) -> Value {
        guard stack.count > depth else { throw .underflow(word: word, at: at) }
        return stack[stack.count - 1 - depth]
    }

    private mutating func popVector(_ word: Word, at: Int) throws(Trap) -> (Float, [Float]) {
        guard case .vector(let coefficient, let elements) = try peek(0, word, at: at) else {
            throw .typeMismatch(word: word, at: at)
        }
        stack.removeLast()
        return (coefficient, elements)
    }

    private func materialize(_ coefficient: Float, _ elements: [Float]) -> [Float] {
        elements.map { coefficient * $0 }
    }
}
