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
            Array("مرحبا".utf8), Array(repeating: 0, count: 1000), [0xed, 0xa0, 0x80],
            [0xf4, 0x90, 0x80, 0x80],
        ]
        for text in hostile {
            let first = ids(text, &tokenizer)
            #expect(first == ids(text, &tokenizer, usingCache: false))
            #expect(first.allSatisfy { $0 < model.vocabularyCount })
        }
    }

    @Test func `a word of 10 MB is cut into runs of 256 bytes`() {
        var tokenizer = Tokenizer(model: model)
        let run = ids([UInt8](repeating: UInt8(ascii: "a"), count: 256), &tokenizer)
        let rest = ids([UInt8](repeating: UInt8(ascii: "a"), count: 10_000_000 % 256), &tokenizer)
        let word = [UInt8](repeating: UInt8(ascii: "a"), count: 10_000_000)
        let whole = Array(repeating: run, count: 10_000_000 / 256).flatMap { $0 } + rest
        #expect(ids(word, &tokenizer, maximum: 20_000_000) == whole)
    }

    @Test func `words and spaces of any length are cut alike wherever they lie`() {
        var random = SeededRandom(seed: 33)
        var tokenizer = Tokenizer(model: model)
        for _ in 0..<500 {
            // Lengths around those at which the code takes another way.
            var text: [UInt8] = []
            for _ in 0..<8 {
                let length =
                    [1, 7, 15, 16, 17, 63, 64, 255, 256, 257, 600, 1023, 1024, 1025, 2100]
                    .randomElement(using: &random) ?? 1
                let letter = Array("aé\u{FDFA}".utf8)[Int.random(in: 0..<6, using: &random)]
                text += (0..<length).map { _ in Int.random(in: 0..<9, using: &random) > 0 ? letter : 98 }
                let spaces = [1, 2, 60, 1000].randomElement(using: &random) ?? 1
                text += [UInt8](
                    repeating: [32, 9, 10, 12, 13].randomElement(using: &random) ?? 32, count: spaces)
            }
            #expect(ids(text, &tokenizer) == ids(text, &tokenizer, usingCache: false))
        }
        #expect(tokenizer.cacheCounts.hits > 0)
    }

    @Test func `a text that was announced has the same pieces, and so has one that came instead`() {
        var random = SeededRandom(seed: 34)
        var tokenizer = Tokenizer(model: model, cacheSlots: 1024)
        var pieces = PieceBuffer()
        var texts = (0..<2_000).map { _ in GeneratedText.line(using: &random) }
        for length in [0, 1, 16, 17, 1023, 1024, 1025, 5000] { texts.append([UInt8](repeating: 97, count: length)) }
        texts.shuffle(using: &random)
        let bytes = texts.flatMap { $0 }
        var (differing, begin) = (0, 0)
        bytes.withUnsafeBufferPointer { bytes in
            for (place, text) in texts.enumerated() {
                let end = begin + text.count
                // What is announced comes whole, cut short, or not at all.
                let next: Range<Int>? =
                    switch place % 4 {
                    case 0: nil
                    case 1 where place + 1 < texts.count: end..<min(bytes.count, end + texts[place + 1].count + 1)
                    case 2: 0..<min(bytes.count, 40)
                    default: place + 1 < texts.count ? end..<end + texts[place + 1].count : nil
                    }
                _ = tokenizer.encode(
                    UnsafeBufferPointer(rebasing: bytes[begin..<end]),
                    next: next.map { UnsafeBufferPointer(rebasing: bytes[$0]) }, maximumPieces: 8192, into: &pieces)
                if Array(pieces.ids) != ids(text, &tokenizer, usingCache: false, maximum: 8192) { differing += 1 }
                begin = end
            }
        }
        #expect(differing == 0)
    }

    /// Words of printable ASCII: of few letters, so that many segmentations are worth the same; of pieces; of anything.
    private func plainWords(_ count: Int, using random: inout SeededRandom) -> [[UInt8]] {
        let pieces = (0..<UInt32(model.vocabularyCount)).map {
            model.piece($0).filter { $0 > 32 && $0 < 127 }
        }
        return (0..<count).map { index in
            let few = [UInt8](Array("abcdehimnorst.0".utf8).shuffled(using: &random).prefix(2))
            let size = Int.random(in: 1...24, using: &random)
            let word: [UInt8] =
                switch index % 3 {
                case 0: (0..<size).map { _ in few.randomElement(using: &random) ?? 97 }
                case 1: (0..<(size + 5) / 6).flatMap { _ in pieces.randomElement(using: &random) ?? [97] }
                default: (0..<size).map { _ in UInt8.random(in: 33..<127, using: &random) }
                }
            return word.isEmpty ? [97] : word
        }
    }

    @Test func `plain words get the library's pieces without the library, ties included`() {
        var random = SeededRandom(seed: 34)
        var tokenizer = Tokenizer(model: model, cacheSlots: 4)
        var differing: [String] = []
        let words = plainWords(100_000, using: &random)
        for word in words {
            let pieces = ids(word, &tokenizer, maximum: 256)
            guard pieces != ids(word, &tokenizer, usingCache: false, maximum: 256) else { continue }
            differing.append(String(decoding: word, as: UTF8.self))
        }
        #expect(differing == [])
        #expect(tokenizer.cacheCounts.misses > 90_000)
    }

    /// Fields of the serialised model that a foreign trainer might have written, behind the others.
    @Test(
        arguments: [
            // A piece "ca" of a user's own, which goes before all others.
            [0x0a, 0x0b, 0x0a, 0x02, 0x63, 0x61, 0x15, 0, 0, 0, 0, 0x18, 0x04],
            // No space before a text.
            [0x1a, 0x02, 0x18, 0x00],
            // The space behind a word.
            [0x12, 0x03, 0xc0, 0x01, 0x01],
        ] as [[UInt8]]) func `a model of another kind is left to the library`(fields: [UInt8]) throws
    {
        let foreign = try PieceModel(serialized: TinyModel.pieceModel + fields)
        var tokenizer = Tokenizer(model: foreign)
        var own = Tokenizer(model: model)
        var differsFromOwn = false
        for text in ["the cat watches ~^ the river".utf8, "education".utf8, "because".utf8, "`|\u{7e}".utf8]
            .map(Array.init)
        {
            let library = ids(text, &tokenizer, usingCache: false)
            #expect(ids(text, &tokenizer) == library)
            differsFromOwn = differsFromOwn || library != ids(text, &own)
        }
        #expect(differsFromOwn, "these fields change the pieces, so leaving them unread would show")
    }

    @Test func `more pieces than the maximum are cut and reported`() {
        var tokenizer = Tokenizer(model: model)
        var pieces = PieceBuffer()
        let wasCut = Array("the cat watches the river".utf8).withUnsafeBufferPointer {
            tokenizer.encode($0, maximumPieces: 3, into: &pieces)
        }
        #expect(wasCut && pieces.count == 3)
        #expect(
            Array(pieces.ids) == Array(ids(Array("the cat watches the river".utf8), &tokenizer).prefix(3)))
    }

    @Test func `spans point into the original text and carry the same pieces`() {
        var tokenizer = Tokenizer(model: model)
        let text = Array("  The CAT\twatches naïve things ".utf8)
        let spans = text.withUnsafeBufferPointer { tokenizer.encodeWithSpans($0) }
        #expect(spans.ids == ids(text, &tokenizer))
        #expect(spans.begins.first == 2)
        let covered = zip(spans.begins, spans.ends).map {
            String(decoding: text[Int($0)..<Int($1)], as: UTF8.self)
        }
        #expect(covered.joined() == "TheCATwatchesnaïvethings")
        // NFKC has one character for y and ring above, none for Y and ring above.
        let ring = Array("Y\u{30a} y\u{30a}".utf8)
        #expect(ring.withUnsafeBufferPointer { tokenizer.encodeWithSpans($0) }.ids == ids(ring, &tokenizer))
    }

    @Test func `a damaged piece model is refused with a reason`() {
        let error = #expect(throws: TokenizationError.self) {
            try PieceModel(serialized: Array(TinyModel.pieceModel[..<100]))
        }
        guard case .unusableModel(let reason)? = error else { return }
        #expect(!reason.isEmpty)
    }
}
