import Models
import Programs
import Rules
import TestSupport
import Testing
import Vectors

@Suite struct MachineTests {
    /// Three lexemes and a phrase of sixteen dimensions, of which only the first two are used here: (1, 0), (0, 2), zeros,
    /// and the phrase (0, 3). One coupling feature is not zero: l of lexeme 0 is 3.5, h of lexeme 1 is 7, e is 0.5 at
    /// offset 1; its lift is (10, 0). The context rule 0 has the vector (0, 7).
    private static let model: Model? = {
        func row(_ values: [Float], _ count: Int = 16) -> [Float] {
            values + [Float](repeating: 0, count: count - values.count)
        }
        let shape = ModelShape(dimensions: 16, contextRank: 0, neighbourRank: 0, couplingCount: 16, ruleCount: 16)
        var records = PackedRecords(shape: shape)
        records.append(row([1, 0]) + row([3.5]) + row([]), bias: 0)
        records.append(row([0, 2]) + row([]) + row([7]), bias: 0)
        records.append(row([]) + row([]) + row([]), bias: 0)
        while records.count < TinyModel.contents.pieceCount { records.append(row([]) + row([]) + row([]), bias: 0) }
        records.append(row([0, 3]) + row([]) + row([]), bias: 0)
        let none = QuantizedRows(quantizing: [], dimensions: 16)
        guard let phrases = try? RuleSet(vocabularyCount: TinyModel.contents.pieceCount, phraseCount: 1) else { return nil }
        let contents = ModelContents(
            name: "machine", records: records, projection: none, neighbours: [], couplings: row([0.5], 32),
            rules: QuantizedRows(quantizing: row([], 16 * 32), dimensions: 32), thresholds: row([]),
            lifts: QuantizedRows(quantizing: row([10], 16 * 16) + row([0, 7], 16 * 16), dimensions: 16),
            phrases: phrases, temperature: 1,
            pieceModel: TinyModel.pieceModel, pieceCount: TinyModel.contents.pieceCount, provenance: [],
            selfTest: ("", row([])))
        return try? Model(contents)
    }()

    private func run(_ text: String, fuel: Int = 100) throws -> [Float] {
        var machine = Machine(tables: try #require(Self.model).tables)
        let vector = try machine.run(ForthSyntax.parse(text), fuel: fuel)
        #expect(vector[2...].allSatisfy { $0 == 0 })
        return Array(vector.prefix(2))
    }

    @Test func `weighted lexemes are added and normalised`() throws {
        // x = 3 · (1, 0) + 2.5 · (0, 2) = (3, 5): coefficients in the ratio of 153 to 255, which rounding keeps.
        let vector = try run("LEXEME 0 SCALE 3 ADD LEXEME 1 SCALE 2.5 ADD NORMALIZE")
        let length = Float(34).squareRoot()
        #expect(abs(vector[0] - 3 / length) < 1e-6 && abs(vector[1] - 5 / length) < 1e-6)
    }

    @Test func `rows are summed with coefficients of 255 levels, vectors as they are`() throws {
        // 0.3 of 255 levels is 76.5, and 76 steps are what the tie goes to.
        let sum = try run("LEXEME 0 SCALE 0.6 ADD LEXEME 1 ADD NORMALIZE")
        #expect(abs(sum[0] / sum[1] - Float(76) / 255) < 1e-6)
        let negative = try run("LEXEME 0 SCALE -1 ADD LEXEME 1 SCALE 0.5 ADD NORMALIZE")
        #expect(abs(negative[0] + Float(0.5).squareRoot()) < 1e-6 && abs(negative[1] - Float(0.5).squareRoot()) < 1e-6)
        let vectors = try run("LEXEME 0 ADD NORMALIZE SCALE 0.3 ADD LEXEME 1 ADD NORMALIZE SCALE 2 ADD NORMALIZE")
        #expect(abs(vectors[0] / vectors[1] - 0.15) < 1e-6)
        #expect(throws: Trap.notFinite(at: 4)) { try run("LEXEME 0 SCALE 3e38 SCALE 3e38 ADD NORMALIZE") }
    }

    @Test func `stack words do what Forth's do`() throws {
        #expect(try run("LEXEME 0 LEXEME 1 SWAP DROP") == [0, 2])
        #expect(try run("LEXEME 0 LEXEME 1 OVER ADD DROP DROP NORMALIZE")[1] == 0)
        #expect(try run("LEXEME 1 DUP ADD SCALE 0.5") == [0, 1])
    }

    @Test func `a phrase and a rule push their vectors`() throws {
        #expect(try run("PHRASE 0") == [0, 3])
        #expect(try run("RULE 0 SCALE 2") == [0, 14])
    }

    @Test func `a coupling is lifted once, and the sum is cleared by NORMALIZE`() throws {
        // z = 0.5 · 3.5 · 7 = 12.25 at offset 1 and 0 at offset 2; LIFT 0.5 adds 6.125 · (10, 0).
        let vector = try run("COUPLE 0 1 1 COUPLE 0 1 2 LIFT 0.5 LEXEME 1 SCALE 30.625 ADD NORMALIZE")
        #expect(abs(vector[0] - Float(0.5).squareRoot()) < 1e-6 && abs(vector[1] - Float(0.5).squareRoot()) < 1e-6)
        let again = try run("LEXEME 0 ADD NORMALIZE ADD LEXEME 1 SCALE 0 ADD NORMALIZE")
        #expect(abs(again[0] - 1) < 1e-6 && again[1] == 0)
        #expect(throws: Trap.notFinite(at: 3)) { try run("LEXEME 0 ADD NORMALIZE NORMALIZE") }
        #expect(throws: Trap.notFinite(at: 1)) { try run("LIFT 1 NORMALIZE") }
    }

    @Test func `every way to fail has its trap`() {
        #expect(throws: Trap.underflow(word: .add, at: 0)) { try run("ADD") }
        #expect(throws: Trap.underflow(word: .swap, at: 1)) { try run("LEXEME 0 SWAP") }
        #expect(throws: Trap.unknown(word: .lexeme, 99_999, at: 0)) { try run("LEXEME 99999") }
        #expect(throws: Trap.unknown(word: .phrase, 1, at: 0)) { try run("PHRASE 1") }
        #expect(throws: Trap.unknown(word: .rule, 16, at: 0)) { try run("RULE 16") }
        #expect(throws: Trap.unknown(word: .couple, 3, at: 0)) { try run("COUPLE 0 1 3") }
        #expect(throws: Trap.unknown(word: .couple, 99_999, at: 0)) { try run("COUPLE 0 99999 1") }
        #expect(throws: Trap.notFinite(at: 0)) { try run("NORMALIZE") }
        #expect(throws: Trap.notFinite(at: 2)) { try run("LEXEME 2 ADD NORMALIZE") }
        #expect(throws: Trap.notFinite(at: 2)) { try run("LEXEME 0 SCALE 3e38 SCALE 3e38") }
        #expect(throws: Trap.notFinite(at: 3)) { try run("LEXEME 0 SCALE 3e38 DUP DOT DROP LEXEME 0") }
        #expect(throws: Trap.noVector) { try run("") }
        #expect(throws: Trap.noVector) { try run("LEXEME 0 LEXEME 1") }
        #expect(throws: Trap.noVector) { try run("LEXEME 0 LEXEME 1 DOT") }
        #expect(throws: Trap.typeMismatch(word: .add, at: 3)) { try run("LEXEME 0 LEXEME 1 DOT ADD") }
        #expect(throws: Trap.outOfFuel(at: 2)) { try run("LEXEME 0 ADD NORMALIZE", fuel: 2) }
        let deep = String(repeating: "LEXEME 0 ", count: Machine.maximumDepth + 1)
        #expect(throws: Trap.overflow(at: Machine.maximumDepth)) { try run(deep) }
    }

    @Test func `enough fuel is exactly as many as there are words`() throws {
        let vector = try run("LEXEME 0 ADD NORMALIZE", fuel: 3)
        #expect(abs(vector[0] - 1) < 1e-6 && vector[1] == 0)
    }
}
