import Diagnostics
import Programs
import TestSupport
import Testing

@Suite struct ForthTests {
    @Test func `print then parse is identity`() throws {
        var random = SeededRandom(seed: 3)
        for _ in 0..<200 {
            let program: [Instruction] = (0..<Int.random(in: 0..<30, using: &random)).map { _ in
                switch Int.random(in: 0..<13, using: &random) {
                case 0: .lexeme(UInt32.random(in: 0...UInt32.max, using: &random))
                case 1: .scale(Float.random(in: -1e6...1e6, using: &random))
                case 2: .add
                case 3: .normalize
                case 4: .dup
                case 5: .swap
                case 6: .over
                case 7: .drop
                case 8: .phrase(UInt32.random(in: 0...9, using: &random))
                case 9: .rule(UInt32.random(in: 0...9, using: &random))
                case 10: .lift(Float.random(in: 0...1, using: &random))
                case 11:
                    .couple(
                        UInt32.random(in: 0...9, using: &random), UInt32.random(in: 0...9, using: &random),
                        offset: UInt32.random(in: 1...2, using: &random))
                default: .dot
                }
            }
            #expect(try ForthSyntax.parse(ForthSyntax.print(program)) == program)
        }
    }

    @Test(arguments: [
        ("LEXEME 3 ADD\n  FLY", 2, 3, "a word", "FLY"),
        ("LEXEME x", 1, 8, "a lexeme's id", "x"),
        ("ADD SCALE nan", 1, 11, "a finite number", "nan"),
        ("ADD\n\nSCALE", 3, 1, "1 number(s) after SCALE", "the end of the text"),
        ("COUPLE 3 4", 1, 1, "3 number(s) after COUPLE", "the end of the text"),
        ("COUPLE 3 4 x", 1, 12, "an offset", "x"),
        (":", 1, 1, "a name after :", "the end of the text"),
        (": ADD DUP ;", 1, 3, "a new name after :", "ADD"),
        (": 1.5 DUP ;", 1, 3, "a new name after :", "1.5"),
        (": two DUP\n  DUP", 1, 1, "; after : two", "the end of the text"),
        (": a ADD\n: b ADD ;", 2, 1, "; before the next definition", ":"),
        (": a a ;", 1, 5, "a word", "a"),
    ])
    func `an error says line, column and what was expected`(
        _ text: String, _ line: Int, _ column: Int, _ expected: String, _ found: String
    ) {
        let error = #expect(throws: ForthSyntaxError.self) { try ForthSyntax.parse(text) }
        #expect(error?.position.line == line)
        #expect(error?.position.column == column)
        #expect(error?.expected == expected)
        #expect(error?.found == found)
    }

    @Test func `a definition stands for its words, at the place where it is used`() throws {
        let (program, positions) = try ForthSyntax.parseWithPositions(": d DUP DUP ; : q d d ;\nq ADD\n  d")
        #expect(program == [.dup, .dup, .dup, .dup, .add, .dup, .dup])
        #expect(positions.map(\.line) == [2, 2, 2, 2, 2, 3, 3])
        #expect(positions.map(\.column) == [1, 1, 1, 1, 3, 3, 3])
    }

    @Test func `definitions cannot make a program of more words than are allowed`() {
        var text = ": a0 DUP ;"
        for level in 1...40 { text += " : a\(level) a\(level - 1) a\(level - 1) ;" }
        let error = #expect(throws: ForthSyntaxError.self) { try ForthSyntax.parse(text) }
        #expect(error?.expected == "at most \(ForthSyntax.maximumWords) words")
    }

    @Test func `many definitions cannot hold more words together than a program`() {
        var text = ": a0 DUP ;"
        for level in 1...19 { text += " : a\(level) a\(level - 1) a\(level - 1) ;" }
        let error = #expect(throws: ForthSyntaxError.self) { try ForthSyntax.parse(text + " : b a19 ; : c a19 ; DUP") }
        #expect(error?.expected == "at most \(ForthSyntax.maximumWords) words")
    }

    @Test func `a comment ends with its line`() throws {
        for end in ["\n", "\r\n", "\r"] {
            let text = "ADD \\ DROP DROP\(end)\(end)  DUP"
            #expect(try ForthSyntax.parse(text) == [.add, .dup])
            let positions = try ForthSyntax.parseWithPositions(text).positions
            #expect(positions.map(\.line) == [1, 3] && positions.map(\.column) == [1, 3])
        }
    }
}
