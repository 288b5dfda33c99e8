import CSentencePiece

/// A SentencePiece model. Immutable, so any number of threads may use it.
///
/// Safe as `Sendable`: the library's processor is only called through const methods after `init`.
package final class PieceModel: @unchecked Sendable {
    let handle: OpaquePointer

    /// Opens a serialised model; the bytes are not kept.
    package init(serialized bytes: UnsafeRawBufferPointer) throws(TokenizationError) {
        handle = try Self.open(bytes).get()
    }

    /// Opens a serialised model; the bytes are not kept.
    package init(serialized bytes: [UInt8]) throws(TokenizationError) {
        handle = try bytes.withUnsafeBytes { Self.open($0) }.get()
    }

    private static func open(_ bytes: UnsafeRawBufferPointer) -> Result<OpaquePointer, TokenizationError> {
        var reason = [CChar](repeating: 0, count: 256)
        guard let handle = sae_pieces_open(bytes.baseAddress, bytes.count, &reason, reason.count) else {
            return .failure(.unusableModel(reason: reason.untilTerminator))
        }
        return .success(handle)
    }

    deinit { sae_pieces_close(handle) }

    /// Number of pieces; ids are 0 to one less.
    package var vocabularyCount: Int { Int(sae_pieces_count(handle)) }

    /// UTF-8 of a piece, U+2581 for the space before a word; empty for an id out of range.
    package func piece(_ id: UInt32) -> [UInt8] {
        var length = 0
        guard let text = sae_pieces_text(handle, id, &length) else { return [] }
        return UnsafeRawBufferPointer(start: text, count: length).map { $0 }
    }

    /// Segments one whole text by the library alone: for comparisons in tests.
    package func encodeByLibrary(_ text: UnsafeBufferPointer<UInt8>) -> [UInt32] {
        var ids = [UInt32](repeating: 0, count: text.count * 12 + 16)
        let count = text.withMemoryRebound(to: CChar.self) {
            sae_pieces_encode(handle, $0.baseAddress, $0.count, &ids, nil, nil, ids.count)
        }
        return Array(ids.prefix(max(0, count)))
    }
}
