import Diagnostics
import Programs
import RuleLibrary
import Rules

/// Pieces that are odd, repeated, empty or no text.
private let names = PieceNames(
    ["<unk>", "▁new", "▁york", "▁turn", "▁off", "a\"b\\c", "▁new", "", "\u{301}x y\n"].map { Array($0.utf8) } + [[0xff]])

/// Rules and generations from strangers.
///
/// The first byte says what the rest is: 0 rules as text, 1 rules as canonical bytes, 2 a generation as text. What is accepted comes back equal from its text and from its
/// bytes, and can be matched; what is not gives an error with words.
package func fuzzRules(_ bytes: UnsafeRawBufferPointer) {
    guard bytes.count > 1 else { return }
    let input = Array(bytes.dropFirst())
    if bytes[0] % 3 == 2 { return readGeneration(input) }
    do throws(RuleError) {
        let rules: RuleSet
        if bytes[0] % 3 == 0 {
            rules = try RuleSyntax.parse(input, ofFile: "fuzz", names: names)
        } else {
            rules = try RuleSet(canonicalBytes: input)
            precondition(rules.canonicalBytes == input, "other bytes come out")
        }
        check(rules)
    } catch {
        checkWords(error.summary + (error.remedy ?? ""))
    }
}

/// Its text, written from what was read, gives the same generation and worth.
private func readGeneration(_ input: [UInt8]) {
    guard let text = String(validating: input, as: UTF8.self) else { return }
    let read: (generation: Generation, worth: Worth)
    do throws(LibraryError) { read = try GenerationText.parse(text, names: names) } catch {
        return checkWords(error.summary + (error.remedy ?? ""))
    }
    let printed = GenerationText.print(read.generation, worth: read.worth, names: names)
    do throws(LibraryError) {
        let again = try GenerationText.parse(printed, names: names)
        precondition(again.generation.digest == read.generation.digest, "another generation comes back")
        precondition(GenerationText.print(again.generation, worth: again.worth, names: names) == printed, "another text comes back")
    } catch { preconditionFailure("its own text is refused: \(error)") }
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
