import TestSupport
import Testing
import Tokenization

@Suite struct TokenizerTests {
    private let model: PieceModel

    init() throws { model = try PieceModel(serialized: TinyModel.pieceModel) }

    private func ids(
        _ text: [UInt8], _ tokenizer: inout Tokenizer, usingCache: Bool = true, maximum: Int = 1 << 20
    ) -> [UInt32] {
        var pieces = PieceBuffer()
        _ = text.withUnsafeBufferPointer {
            tokenizer.encode($0, maximumPieces: maximum, usingCache: usingCache, into: &pieces)
        }
        return Array(pieces.ids)
    }

    @Test func `cached and uncached pieces are the same on 100,000 varied lines`() {
        var random = SeededRandom(seed: 31)
        // A small cache is emptied many times on the way.
        var tokenizer = Tokenizer(model: model, cacheSlots: 1024)
        var plain = PieceBuffer()
        var cached = PieceBuffer()
        var differing = 0
        for _ in 0..<100_000 {
            GeneratedText.line(using: &random).withUnsafeBufferPointer {
                _ = tokenizer.encode($0, maximumPieces: 8192, into: &cached)
                _ = tokenizer.encode($0, maximumPieces: 8192, usingCache: false, into: &plain)
            }
            if cached.ids != plain.ids { differing += 1 }
        }
        #expect(differing == 0)
        #expect(tokenizer.cacheCounts.hits > 300_000)
    }

    @Test(arguments: [4, 16]) func `a cache too small for one long word is safe and exact`(slots: Int) {
        // U+FDFA folds to 33 bytes, which a vocabulary without Arabic gives a piece each: 11 KB of ids a word.
        let long = [UInt8](String(repeating: "\u{FDFA}", count: 85).utf8)
        var tokenizer = Tokenizer(model: model, cacheSlots: slots)
        for _ in 0..<100 {
            let cached = ids(long, &tokenizer)
            #expect(cached.count > 2000)
            #expect(cached == ids(long, &tokenizer, usingCache: false))
        }
    }

    @Test func `word by word is what the library makes of the whole line`() {
        var random = SeededRandom(seed: 32)
        var tokenizer = Tokenizer(model: model)
        var differing = 0
        for _ in 0..<20_000 {
            let line = Array(GeneratedText.sentence(using: &random).utf8)
            let whole = line.withUnsafeBufferPointer { model.encodeByLibrary($0) }
            if ids(line, &tokenizer) != whole { differing += 1 }
        }
        // The library adds float scores along the line, so two segmentations of nearly equal worth may change
        // places; words alone have no such history.
        #expect(differing <= 20)
    }

    @Test func `every ASCII byte between letters is treated as the library treats it`() {
        var tokenizer = Tokenizer(model: model)
        for byte in UInt8(1)..<128 {
            for text in [[97, byte, 98], [byte], [65, byte, byte, 66], [byte, 97], [97, byte]] as [[UInt8]] {
                let whole = text.withUnsafeBufferPointer { model.encodeByLibrary($0) }
                #expect(ids(text, &tokenizer) == whole, "byte \(byte) in \(text)")
            }
        }
    }

    @Test func `any bytes are safe and give the same pieces twice`() {
        var tokenizer = Tokenizer(model: model)
        let hostile: [[UInt8]] = [
            [], [0], [0xff], [0xc3], [0xe2, 0x82], Array(repeating: 0x80, count: 300), Array("👩‍👩‍👧‍👦".utf8),
            Array("مرحبا".utf8), Array(repeating: 0, count: 1000), [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80],
        ]
        for text in hostile {
            let first = ids(text, &tokenizer)
            #expect(first == ids(text, &tokenizer, usingCache: false))
            #expect(first.allSatisfy { $0 < model.vocabularyCount })
        }
    }

    @Test func `a word of 10 MB is cut into runs that the cache holds`() {
        var tokenizer = Tokenizer(model: model)
        let word = [UInt8](repeating: UInt8(ascii: "a"), count: 10_000_000)
        let pieces = ids(word, &tokenizer, maximum: 20_000_000)
        #expect(tokenizer.cacheCounts.misses == 2, "a run of 256 bytes, and the rest")
        let run = ids(Array(word[..<256]), &tokenizer)
        #expect(pieces.prefix(run.count).elementsEqual(run))
    }

    @Test func `more pieces than the maximum are cut and reported`() {
        var tokenizer = Tokenizer(model: model)
        var pieces = PieceBuffer()
        let wasCut = Array("the cat watches the river".utf8).withUnsafeBufferPointer {
            tokenizer.encode($0, maximumPieces: 3, into: &pieces)
        }
        #expect(wasCut && pieces.count == 3)
        #expect(Array(pieces.ids) == Array(ids(Array("the cat watches the river".utf8), &tokenizer).prefix(3)))
    }

    @Test func `spans point into the original text and carry the same pieces`() {
        var tokenizer = Tokenizer(model: model)
        let text = Array("  The CAT\twatches naïve things ".utf8)
        let spans = text.withUnsafeBufferPointer { tokenizer.encodeWithSpans($0) }
        #expect(spans.ids == ids(text, &tokenizer))
        #expect(spans.begins.first == 2)
        let covered = zip(spans.begins, spans.ends).map { String(decoding: text[Int($0)..<Int($1)], as: UTF8.self) }
        #expect(covered.joined() == "TheCATwatchesnaïvethings")
    }

    @Test func `a damaged piece model is refused with a reason`() {
        let error = #expect(throws: TokenizationError.self) {
            try PieceModel(serialized: Array(TinyModel.pieceModel[..<100]))
        }
        guard case .unusableModel(let reason)? = error else { return }
        #expect(!reason.isEmpty)
    }
}
