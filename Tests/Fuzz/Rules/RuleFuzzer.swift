import CFuzzDriver
import Programs
import Rules

/// Rules as text and as canonical bytes, from strangers.
///
/// An even first byte: the rest is text. Odd: canonical bytes. What is accepted comes back equal from its text and from its
/// bytes, and can be matched; what is not gives an error with words.
@main
enum RuleFuzzer {
    static func main() {
        var count = CommandLine.argc
        var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
        _ = LLVMFuzzerRunDriver(&count, &arguments, testOneInput)
    }
}

/// Pieces that are odd, repeated, empty or no text.
private let names = PieceNames(
    ["<unk>", "▁new", "▁york", "▁turn", "▁off", "a\"b\\c", "▁new", "", "\u{301}x y\n"].map { Array($0.utf8) } + [[0xff]])

@_cdecl("LLVMFuzzerTestOneInput")
func testOneInput(_ bytes: UnsafePointer<UInt8>?, _ size: Int) -> Int32 {
    guard let bytes, size > 1 else { return 0 }
    let input = Array(UnsafeBufferPointer(start: bytes + 1, count: size - 1))
    do throws(RuleError) {
        let rules: RuleSet
        if bytes[0] & 1 == 0 {
            rules = try RuleSyntax.parse(input, ofFile: "fuzz", names: names)
        } else {
            rules = try RuleSet(canonicalBytes: input)
            precondition(rules.canonicalBytes == input, "other bytes come out")
        }
        check(rules)
    } catch {
        let words = error.summary + (error.remedy ?? "")
        precondition(!words.isEmpty && words.count < 2_000, "an error without words, or with too many")
        precondition(!words.unicodeScalars.contains { $0.value < 32 }, "an error that a terminal would obey")
    }
    return 0
}

private func check(_ rules: RuleSet) {
    do throws(RuleError) {
        let again = try RuleSet(canonicalBytes: rules.canonicalBytes)
        precondition(again == rules, "bytes do not come back")
        if rules.vocabularyCount == names.count {
            let text = RuleSyntax.print(rules, names: names)
            let parsed = try RuleSyntax.parse(text, names: names)
            precondition(parsed == rules, "text does not come back")
        }
    } catch { preconditionFailure("what was accepted is refused: \(error)") }
    var stream = ProgramStream()
    stream.load(ids: (0..<16).map { $0 % UInt32(max(1, min(rules.vocabularyCount, 16))) })
    var fuel = 10_000
    var matches: [RuleMatch] = []
    rules.appendMatches(in: stream, anchors: 0..<stream.bodyCount, maximumCount: 64, fuel: &fuel, to: &matches)
    precondition(matches.allSatisfy { $0.first <= $0.last && Int($0.last) < stream.bodyCount }, "a match outside the text")
}
