import Diagnostics
import RuleLibrary
import Rules
import TestSupport
import Testing

@Suite struct GenerationTextTests {
    /// Some pieces have texts, some only numbers.
    private let names = PieceNames((0..<200).map { $0 % 3 == 0 ? [] : Array("▁p\($0)".utf8) })

    @Test func `what is exported imports as the same generation with the same worth`() {
        #expect(
            forAll(seed: 4, count: 40, maximumSize: 40) { size, random in
                let generations = GeneratedGenerations(seed: UInt64.random(in: 0..<1_000, using: &random), size: size)
                return (generations[size], generations.worth(size))
            } holds: { generation, worth in
                let text = GenerationText.print(generation, worth: worth, names: names)
                let (read, readWorth) = try GenerationText.parse(text, names: names)
                return read.digest == generation.digest && read.rules == generation.rules
                    && read.records == generation.records && read.origin == generation.origin && readWorth == worth
                    && GenerationText.isGeneration(text)
            } == nil)
    }

    private static let good = """
        generation 1
        model 0707070707070707070707070707070707070707070707070707070707070707
        seed 3
        phrases 1
        %0 %1 => add $0 worth 1
        record $0 00ff

        """

    @Test func `a text that is not the generation it names is refused, unless it names none`() throws {
        let (generation, worth) = try GenerationText.parse(Self.good, names: names)
        let text = GenerationText.print(generation, worth: worth, names: names)
        for (written, instead) in [("00ff", "00fe"), ("seed 3", "seed 4"), ("worth 1", "worth 2")] {
            let changed = text.replacing(written, with: instead, maxReplacements: 1)
            #expect(changed != text)
            #expect(throws: LibraryError.altered(named: "\(generation.digest)")) { try GenerationText.parse(changed, names: names) }
            let unnamed = changed.split(separator: "\n", maxSplits: 1)[1]
            #expect(try GenerationText.parse(String(unnamed), names: names).generation.digest != generation.digest)
        }
    }

    @Test func `a text says where it is wrong`() throws {
        #expect(try GenerationText.parse(Self.good, names: names).generation.records == [0, 255])
        for (bad, instead, line) in [
            ("seed 3", "seed x", 3), ("record $0 00ff", "record $0 0f0", 6), ("record $0 00ff", "record $1 00ff", 7),
            ("07\nseed", "0\nseed", 2), ("generation 1", "generation 2", 1), ("model 07", "# model 07", 7),
            ("00ff", "00ff\nrecord $1 00ff", 8),
        ] {
            #expect(Self.good.contains(bad))
            let text = Self.good.replacing(bad, with: instead, maxReplacements: 1)
            let error = #expect(throws: LibraryError.self, "\(instead)") { try GenerationText.parse(text, names: names) }
            let place = if case .text(let position, expected: _, found: _) = error { position.line } else { 0 }
            #expect(place == line, "\(instead)")
        }
        #expect(throws: LibraryError.rules(.faulty(TextPosition(line: 5, column: 1), .unknownPhrase))) {
            try GenerationText.parse(Self.good.replacing("add $0", with: "add $7"), names: names)
        }
    }

    @Test func `rules alone are not taken for a generation`() {
        #expect(!GenerationText.isGeneration("# generation\nphrases 1\n"))
        #expect(!GenerationText.isGeneration(""))
    }
}
