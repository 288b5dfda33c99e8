import CSentencePiece

/// Trains the vocabulary, by the library's own trainer.
package enum PieceTrainer {
    /// The vocabulary depends on the number of threads, so it is fixed.
    package static let threads = 2

    /// The library takes no smaller bound on the number of texts.
    private static let smallestBound = 101

    /// A serialised unigram model of at most `vocabularyCount` pieces, from the first `maximumTexts` texts.
    /// The same texts give the same model.
    package static func train(
        texts: [[UInt8]], vocabularyCount: Int = 32_000, maximumTexts: Int = 1_000_000
    ) throws(TokenizationError) -> [UInt8] {
        guard texts.prefix(maximumTexts).contains(where: { !$0.isEmpty }) else { throw .untrainable(reason: "there is no text") }
        final class Cursor {
            let texts: [[UInt8]]
            var next = 0
            var current = UnsafeMutableBufferPointer<CChar>.allocate(capacity: 1)
            init(_ texts: [[UInt8]]) { self.texts = texts }
            deinit { current.deallocate() }
        }
        let cursor = Cursor(texts)
        var bytes: UnsafeMutablePointer<CChar>?
        var byteCount = 0
        var reason = [CChar](repeating: 0, count: 512)
        let next: sae_next_text = { context, text, length in
            guard let context, let text, let length else { return 0 }
            let cursor = Unmanaged<Cursor>.fromOpaque(context).takeUnretainedValue()
            guard cursor.next < cursor.texts.count else { return 0 }
            // Replaced only at the next call, after the library has copied the text.
            cursor.current.deallocate()
            cursor.current = .allocate(capacity: max(1, cursor.texts[cursor.next].count))
            for (at, byte) in cursor.texts[cursor.next].enumerated() { cursor.current[at] = CChar(bitPattern: byte) }
            cursor.next += 1
            length.pointee = cursor.texts[cursor.next - 1].count
            text.pointee = UnsafePointer(cursor.current.baseAddress)
            return 1
        }
        let status = withExtendedLifetime(cursor) {
            sae_pieces_train(
                next, Unmanaged.passUnretained(cursor).toOpaque(), UInt32(vocabularyCount), UInt32(threads),
                UInt64(max(maximumTexts, Self.smallestBound)), &bytes, &byteCount, &reason, reason.count)
        }
        guard status == 0, let bytes else { throw .untrainable(reason: Self.reason(reason.untilTerminator, vocabularyCount)) }
        defer { sae_pieces_free_bytes(bytes) }
        return UnsafeRawBufferPointer(start: bytes, count: byteCount).map { $0 }
    }

    /// What the library's messages, which name lines of its source, mean to those who gave the texts.
    private static func reason(_ message: String, _ vocabularyCount: Int) -> String {
        if message.contains("required_chars") {
            return "the texts have more different characters than \(vocabularyCount) pieces can hold"
        }
        return "the texts do not yield \(vocabularyCount) pieces"
    }
}
