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

/// The stack machine that defines what a program means. The engine's fast path computes the same sums, faster.
///
/// LEXEME, PHRASE and RULE push a **row**: a coefficient, which is its scale, and int8 elements. SCALE multiplies the
/// coefficient. ADD takes rows in blocks: when `IntegerSum.blockSize` of them wait, or at the next LIFT, NORMALIZE or ADD of something else,
/// they are added to the register x as one sum of integers,
///
///     step = max|c| / 255,  q = round(c · (1 / step)),  x[d] = fma(step, Σ q · E[d], x[d])
///
/// A **vector**, what NORMALIZE pushes, is added at once, x[d] = fma(c, v[d], x[d]). COUPLE p q o adds to the register z_o,
/// feature by feature, fma(scale of l · l, scale of h · h, z_o). LIFT f adds U z to x, with z = fma(e_2, z_2, e_1 · z_1) · f, as
/// a sum of integers with 127 levels.
package struct Machine {
    package static let maximumDepth = 64

    private enum Value {
        case row(coefficient: Float, elements: [Float])
        case vector(coefficient: Float, elements: [Float])
        case scalar(Float)
    }

    private let tables: ModelTables
    private var stack: [Value] = []
    private var x: [Float]
    /// z_1 and z_2.
    private var z: [[Float]]
    /// Rows that wait to be added to x.
    private var waiting: [(coefficient: Float, elements: [Float])] = []

    package init(tables: ModelTables) {
        self.tables = tables
        x = [Float](repeating: 0, count: tables.shape.dimensions)
        z = [[Float]](repeating: [Float](repeating: 0, count: tables.shape.couplingCount), count: 2)
    }

    /// Runs a program with at most `fuel` words and returns the one vector it leaves, of finite numbers.
    package mutating func run(_ program: [Instruction], fuel: Int) throws(Trap) -> [Float] {
        stack.removeAll()
        waiting.removeAll()
        clear(&x)
        clear(&z[0])
        clear(&z[1])
        for (at, instruction) in program.enumerated() {
            guard at < fuel else { throw .outOfFuel(at: at) }
            try step(instruction, at: at)
            guard stack.count <= Self.maximumDepth else { throw .overflow(at: at) }
        }
        guard stack.count == 1, let vector = stack.last.flatMap(numbers) else { throw .noVector }
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
        case .lift(let factor): lift(factor)
        case .scale(let factor):
            switch try pop(.scale, at: at) {
            case .row(let coefficient, let elements):
                stack.append(.row(coefficient: factor * coefficient, elements: elements))
            case .vector(let coefficient, let elements):
                stack.append(.vector(coefficient: factor * coefficient, elements: elements))
            case .scalar: throw .typeMismatch(word: .scale, at: at)
            }
        case .add:
            switch try pop(.add, at: at) {
            case .row(let coefficient, let elements):
                waiting.append((coefficient, elements))
                if waiting.count == IntegerSum.blockSize { addWaiting() }
            case .vector(let coefficient, let elements):
                addWaiting()
                addScaled(coefficient, elements, to: &x)
            case .scalar: throw .typeMismatch(word: .add, at: at)
            }
        case .normalize:
            addWaiting()
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
            guard let right = numbers(try pop(.dot, at: at)), let left = numbers(try pop(.dot, at: at)) else {
                throw .typeMismatch(word: .dot, at: at)
            }
            let product = dot(left, right)
            guard product.isFinite else { throw .notFinite(at: at) }
            stack.append(.scalar(product))
        }
    }

    private mutating func couple(_ left: UInt32, _ right: UInt32, _ offset: UInt32, at: Int) throws(Trap) {
        for id in [left, right] where id >= tables.records.count { throw .unknown(word: .couple, id, at: at) }
        guard (1...2).contains(offset) else { throw .unknown(word: .couple, offset, at: at) }
        let (l, h) = (tables.records.left(Int(left)), tables.records.right(Int(right)))
        let place = Int(offset - 1)
        for feature in z[place].indices {
            z[place][feature].addProduct(l.scale * l.elements[feature], h.scale * h.elements[feature])
        }
    }

    private mutating func lift(_ factor: Float) {
        addWaiting()
        let count = tables.shape.couplingCount
        let coefficients = (0..<count).map { feature in
            let near = tables.couplings[feature] * z[0][feature]
            let sum = near.addingProduct(tables.couplings[count + feature], z[1][feature])
            return (sum * factor) * tables.lifts.scale(feature)
        }
        let rows = (0..<count).map(tables.lifts.elements)
        addIntegers(coefficients, levels: IntegerSum.featureLevels, rows)
        clear(&z[0])
        clear(&z[1])
    }

    private mutating func addWaiting() {
        guard !waiting.isEmpty else { return }
        let rows = waiting
        waiting.removeAll(keepingCapacity: true)
        addIntegers(rows.map(\.coefficient), levels: IntegerSum.rowLevels, rows.map(\.elements))
    }

    /// x += Σ c · elements, with coefficients as integers.
    private mutating func addIntegers(_ coefficients: [Float], levels: Float, _ rows: [[Float]]) {
        let rounded = IntegerSum(rounding: coefficients, levels: levels)
        var sums = [Int32](repeating: 0, count: x.count)
        for (row, q) in zip(rows, rounded.multiples) {
            for d in sums.indices { sums[d] += q * Int32(row[d]) }
        }
        for d in x.indices { x[d].addProduct(rounded.step, Float(sums[d])) }
    }

    private mutating func push(_ row: (scale: Float, elements: [Float])) {
        stack.append(.row(coefficient: row.scale, elements: row.elements))
    }

    private func clear(_ register: inout [Float]) {
        for index in register.indices { register[index] = 0 }
    }

    private func peek(_ depth: Int, _ word: Word, at: Int) throws(Trap) -> Value {
        guard stack.count > depth else { throw .underflow(word: word, at: at) }
        return stack[stack.count - 1 - depth]
    }

    private mutating func pop(_ word: Word, at: Int) throws(Trap) -> Value {
        let value = try peek(0, word, at: at)
        stack.removeLast()
        return value
    }

    /// The numbers of a row or vector; nil for a scalar.
    private func numbers(_ value: Value) -> [Float]? {
        switch value {
        case .row(let coefficient, let elements), .vector(let coefficient, let elements): elements.map { coefficient * $0 }
        case .scalar: nil
        }
    }
}
