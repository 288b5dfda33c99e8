import Diagnostics
import Rules
import TestSupport
import Testing

@Suite struct RuleSyntaxTests {
    private let names = PieceNames(
        ["<unk>", "▁new", "▁york", "▁turn", "▁off", "▁bank", "▁river", "a\"b\\c", "▁new", "", "\u{301}x y\n"]
            .map { Array($0.utf8) } + [[0xff]])

    private let example = """
        phrases 3
        context 2
        class water = "▁bank" "▁river"
        "▁new" "▁york" => replace $0 worth 1.5
        "▁turn" ..2 "▁off" => add $1 worth 0.5 coefficient 2.0 offset 0.25 context 0.5 -1.0
        $0 @water => replace $2
        "▁bank" ~5 @water => replace $2 worth 0.75

        """

    @Test func `rules read as a person would write them`() throws {
        let rules = try RuleSyntax.parse("# places\n\n" + example, names: names)
        #expect(rules.vocabularyCount == 12 && rules.phraseCount == 3 && rules.contextDimensions == 2)
        #expect(rules.classes == [PieceClass("water", [5, 6])])
        #expect(
            Array(rules.rules) == [
                Rule(.adjacent(records: 1, 2), .replace, phrase: 0, worth: 1.5),
                Rule(
                    .sequence([.record(3), .record(4)], gaps: [2]), .add, phrase: 1, worth: 0.5,
                    coefficient: 2,
                    offset: 0.25, context: [0.5, -1]),
                Rule(.adjacent([.record(12), .pieceClass(0)]), .replace, phrase: 2, worth: 0),
                Rule(.trigger(.record(5), near: 0, reach: 5), .replace, phrase: 2, worth: 0.75),
            ])
        #expect(RuleSyntax.print(rules, names: names) == example)
    }

    @Test func `pieces that are odd, repeated or no text are written so that they come back`() throws {
        let rules = try RuleSet(
            vocabularyCount: 12, phraseCount: 1,
            rules: [
                Rule(.adjacent(records: 7, 8), .add, phrase: 0, worth: 0),
                Rule(.adjacent(records: 9, 10, 11), .add, phrase: 0, worth: 0),
            ])
        let text = RuleSyntax.print(rules, names: names)
        #expect(
            text == """
                phrases 1
                "a\\"b\\\\c" %8 => add $0
                %9 "\u{301}x\\u{20}y\\u{a}" %11 => add $0

                """)
        #expect(try RuleSyntax.parse(text, names: names) == rules)
    }

    @Test func `print then parse is identity`() {
        let generator = GeneratedRules()
        let names = PieceNames(["a", "b", "\"", "\\", "%1", "é"].map { Array($0.utf8) })
        let failure = forAll(seed: 51, maximumSize: 40) { size, random in
            generator.ruleSet(size: size, using: &random)
        } holds: { rules in
            try RuleSyntax.parse(RuleSyntax.print(rules, names: names), names: names) == rules
        }
        #expect(failure == nil)
    }

    @Test(arguments: [
        ("phrases", 1, 8, "a count", "the end of the line"),
        ("phrases 1\nphrases 2", 2, 1, "phrases only once", "phrases again"),
        ("phrases 1 2", 1, 11, "the end of the line", "2"),
        ("class W = %1", 1, 7, "a class's name", "W"),
        ("class w = %1\nclass w = %2", 2, 7, "a new class's name", "w"),
        ("class w %1", 1, 9, "=", "%1"),
        ("class w = %1\nclass v = @w", 2, 11, "a piece or phrase", "a class"),
        ("\"▁new\" \"▁yorck\" => add $0", 1, 8, "a piece of the vocabulary", "the piece \"▁yorck\""),
        ("\"▁new", 1, 6, "a closing quote", "the end of the line"),
        ("\"\\x\"", 1, 2, "\\\", \\\\ or \\u{hex}", "another escape"),
        ("%1 %99 => add $0", 1, 4, "a piece of the vocabulary", "%99"),
        ("%1 york => add $0", 1, 4, "a piece, %id, $phrase or @class", "york"),
        ("%1 @water => add $0", 1, 4, "a class defined above", "@water"),
        ("%1 ..x %2 => add $0", 1, 4, "a gap, as ..2", "..x"),
        ("%1 ~x @w => add $0", 1, 4, "a reach, as ~5", "~x"),
        ("%1 ~2 %2 => add $0", 1, 7, "a class, as @name", "a piece or phrase"),
        ("%1 %2 => put $0", 1, 10, "replace or add", "put"),
        ("%1 %2 => add 0", 1, 14, "a phrase, as $3", "0"),
        ("%1 %2 => add $0 value 3", 1, 17, "worth, coefficient, offset or context", "value"),
        ("%1 %2 => add $0 worth", 1, 22, "a finite number", "the end of the line"),
        ("%1 %2 => add $0 worth inf", 1, 23, "a finite number", "inf"),
        ("%1 %2 => add $0 context 1 x", 1, 27, "a finite number", "x"),
    ])
    func `an error says line, column and what was expected`(
        _ text: String, _ line: Int, _ column: Int, _ expected: String, _ found: String
    ) throws {
        let error = #expect(throws: RuleError.self) { try RuleSyntax.parse(text, names: names) }
        guard case .syntax(let position, let wanted, let got)? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(position.line == line && position.column == column, "\(position)")
        #expect(wanted == expected)
        #expect(got == found)
    }

    @Test func `an error in a file names the file and shows nothing that a terminal would obey`() {
        func summary(_ bytes: [UInt8]) -> String? {
            #expect(throws: RuleError.self) { try RuleSyntax.parse(bytes, ofFile: "r.txt", names: names) }?.summary
        }
        #expect(summary([0xff, 0xfe]) == "r.txt, the rules are not UTF-8 text")
        #expect(
            summary(Array("\u{1b}[2J".utf8))
                == "r.txt, line 1, column 1: expected a piece, %id, $phrase or @class, found \\u{1b}[2J")
        #expect(summary(Array("%1 %2 => add $0 w\u{0}".utf8))?.hasSuffix("context, found w\\u{0}") == true)
        #expect(summary(Array("@\u{7} %2 => add $0".utf8))?.hasSuffix("a class defined above, found @\\u{7}") == true)
        #expect(summary([UInt8](repeating: 0x78, count: 1_000))?.hasSuffix("found \(String(repeating: "x", count: 40))…") == true)
    }

    @Test func `a rule that breaks a condition is named by its place`() {
        let text = "phrases 1\n\n  %1 ..2 %2 => replace $0"
        let error = #expect(throws: RuleError.self) { try RuleSyntax.parse(text, names: names) }
        #expect(error?.summary == "line 3, column 3: only a pattern without gaps can replace its items")
        let empty = #expect(throws: RuleError.self) { try RuleSyntax.parse("class w =", names: names) }
        #expect(empty?.summary == "line 1, column 1: it has no members")
    }
}
