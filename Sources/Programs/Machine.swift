package import Diagnostics
import Vectors

/// Why a program stopped early; `at` counts words from 0.
package enum Trap: UserFacingError, Equatable {
    case underflow(word: Word, at: Int)
    case overflow(at: Int)
    case unknown(word: Word, UInt32, at: Int)
    case typeMismatch(word: Word, at: Int)
    case notFinite(at: Int)
    case outOfFuel(at: Int)
    case noVector

    package var summary: String {
        switch self {
        case .underflow(let word, let at): "word \(at), \(word.name): too little on the stack"
        case .overflow(let at): "word \(at): the stack is full (\(Machine.maximumDepth) values)"
        case .unknown(let word, let id, let at): "word \(at), \(word.name): there is no \(id)"
        case .typeMismatch(let word, let at): "word \(at), \(word.name): needs vectors and found a scalar"
        case .notFinite(let at): "word \(at): the result is not finite, or has no length"
        case .outOfFuel(let at): "word \(at): out of fuel"
        case .noVector: "the program ends without exactly one vector on the stack"
        }
    }

    package var remedy: String? { nil }
    package var category: ErrorCategory { .invalidInput }

    /// The word that could not be done; nil for what shows only at the end.
    package var place: Int? {
        switch self {
        case .underflow(_, let at), .overflow(let at), .unknown(_, _, let at), .typeMismatch(_, let at),
            .notFinite(let at), .outOfFuel(let at):
            at
        case .noVector: nil
        }
    }
}

/// The stack machine that defines what a program means. The engine's fast path computes the same sums in the same
/// order.
///
/// A vector on the stack is a coefficient and elements: LEXEME pushes (scale of the meaning, its int8 elements), SCALE
/// multiplies the coefficient, ADD adds coefficient · element to the register x, in one rounding. COUPLE adds to the
/// register z, feature by feature, fma(scale of l · scale of h, e_o · (l · h), z); LIFT f adds column j of U with the
/// coefficient (f · z_j) · scale of the column, j ascending.
package struct Machine {
    package static let maximumDepth = 64

    private enum Value {
        case vector(coefficient: Float, elements: [Float])
        case scalar(Float)
    }

    private let tables: ModelTables
    private var stack: [Value] = []
    private var x: [Float]
    private var z: [Float]

    package init(tables: ModelTables) {
        self.tables = tables
        x = [Float](repeating: 0, count: tables.shape.dimensions)
        z = [Float](repeating: 0, count: tables.shape.couplingCount)
    }

    /// Runs a program with at most `fuel` words and returns the one vector it leaves, of finite numbers.
    package mutating func run(_ program: [Instruction], fuel: Int) throws(Trap) -> [Float] {
        stack.removeAll()
        clear(&x)
        clear(&z)
        for (at, instruction) in program.enumerated() {
            guard at < fuel else { throw .outOfFuel(at: at) }
            try step(instruction, at: at)
            guard stack.count <= Self.maximumDepth else { throw .overflow(at: at) }
        }
        guard stack.count == 1, case .vector(let coefficient, let elements)? = stack.last else {
            throw .noVector
        }
        let vector = materialize(coefficient, elements)
        guard vector.allSatisfy(\.isFinite) else { throw .notFinite(at: program.count - 1) }
        return vector
    }

    private mutating func step(_ instruction: Instruction, at: Int) throws(Trap) {
        switch instruction {
        case .lexeme(let id):
            guard id < tables.vocabularyCount else { throw .unknown(word: .lexeme, id, at: at) }
            push(tables.records.meaning(Int(id)))
        case .phrase(let number):
            let id = tables.vocabularyCount + Int(number)
            guard id < tables.records.count else { throw .unknown(word: .phrase, number, at: at) }
            push(tables.records.meaning(id))
        case .rule(let number):
            guard number < tables.shape.ruleCount else { throw .unknown(word: .rule, number, at: at) }
            let row = tables.shape.couplingCount + Int(number)
            push((tables.lifts.scale(row), tables.lifts.elements(row)))
        case .couple(let left, let right, let offset): try couple(left, right, offset, at: at)
        case .lift(let factor):
            for feature in z.indices {
                let coefficient = (factor * z[feature]) * tables.lifts.scale(feature)
                addScaled(coefficient, tables.lifts.elements(feature), to: &x)
            }
            clear(&z)
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
            clear(&x)
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
            let product = dot(materialize(left.0, left.1), materialize(right.0, right.1))
            guard product.isFinite else { throw .notFinite(at: at) }
            stack.append(.scalar(product))
        }
    }

    private mutating func couple(_ left: UInt32, _ right: UInt32, _ offset: UInt32, at: Int) throws(Trap) {
        for id in [left, right] where id >= tables.records.count { throw .unknown(word: .couple, id, at: at) }
        guard (1...2).contains(offset) else { throw .unknown(word: .couple, offset, at: at) }
        let (l, h) = (tables.records.left(Int(left)), tables.records.right(Int(right)))
        let first = Int(offset - 1) * z.count
        for feature in z.indices {
            let product = tables.couplings[first + feature] * (l.elements[feature] * h.elements[feature])
            z[feature] = z[feature].addingProduct(l.scale * h.scale, product)
        }
    }

    private mutating func push(_ row: (scale: Float, elements: [Float])) {
        stack.append(.vector(coefficient: row.scale, elements: row.elements))
    }

    private func clear(_ register: inout [Float]) {
        for index in register.indices { register[index] = 0 }
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
