import Programs
import TestSupport
import Testing
import Vectors

@Suite struct MachineTests {
    /// Three rows of two dimensions: (1, 0), (0, 2) scaled by a half, and zeros.
    private final class Rows {
        let elements: [Int8] = [127, 0, 0, 4, 0, 0]
        let scales: [Float] = [1 / 127, 0.5, 0]
    }

    private func run(_ text: String, fuel: Int = 100) throws -> [Float] {
        let rows = Rows()
        return try rows.elements.withUnsafeBufferPointer { elements in
            try rows.scales.withUnsafeBufferPointer { scales in
                guard let elements = elements.baseAddress, let scales = scales.baseAddress else { return [] }
                var machine = Machine(
                    lexemes: RowTable(elements: elements, scales: scales, count: 3, dimensions: 2, owner: rows))
                return try machine.run(ForthSyntax.parse(text), fuel: fuel)
            }
        }
    }

    @Test func `weighted lexemes are added and normalised`() throws {
        // x = 3 · (1, 0) + 2 · (0, 2) = (3, 4).
        let vector = try run("LEXEME 0 SCALE 3 ADD LEXEME 1 SCALE 2 ADD NORMALIZE")
        #expect(abs(vector[0] - 0.6) < 1e-6 && abs(vector[1] - 0.8) < 1e-6)
    }

    @Test func `stack words do what Forth's do`() throws {
        #expect(try run("LEXEME 0 LEXEME 1 SWAP DROP") == [0, 2])
        #expect(try run("LEXEME 0 LEXEME 1 OVER ADD DROP DROP NORMALIZE")[1] == 0)
        #expect(try run("LEXEME 1 DUP ADD SCALE 0.5") == [0, 1])
    }

    @Test func `every way to fail has its trap`() {
        #expect(throws: Trap.underflow(word: .add, at: 0)) { try run("ADD") }
        #expect(throws: Trap.underflow(word: .swap, at: 1)) { try run("LEXEME 0 SWAP") }
        #expect(throws: Trap.unknownLexeme(3, at: 0)) { try run("LEXEME 3") }
        #expect(throws: Trap.notFinite(at: 0)) { try run("NORMALIZE") }
        #expect(throws: Trap.notFinite(at: 2)) { try run("LEXEME 2 ADD NORMALIZE") }
        #expect(throws: Trap.noVector) { try run("") }
        #expect(throws: Trap.noVector) { try run("LEXEME 0 LEXEME 1") }
        #expect(throws: Trap.noVector) { try run("LEXEME 0 LEXEME 1 DOT") }
        #expect(throws: Trap.typeMismatch(word: .add, at: 3)) { try run("LEXEME 0 LEXEME 1 DOT ADD") }
        #expect(throws: Trap.outOfFuel(at: 2)) { try run("LEXEME 0 ADD NORMALIZE", fuel: 2) }
        let deep = String(repeating: "LEXEME 0 ", count: Machine.maximumDepth + 1)
        #expect(throws: Trap.overflow(at: Machine.maximumDepth)) { try run(deep) }
    }

    @Test func `enough fuel is exactly as many as there are words`() throws {
        #expect(try run("LEXEME 0 ADD NORMALIZE", fuel: 3) == [1, 0])
    }
}
