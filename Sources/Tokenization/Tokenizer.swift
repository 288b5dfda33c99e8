import CSentencePiece

/// Text to pieces, for one thread: the model and a bounded cache of words in front of it.
///
/// Definition: A to Z become lower case; a text is cut at ASCII white space; a word longer than 256 bytes is cut into runs of at most 256
/// bytes, at a character border; each is segmented alone by the library (NFKC with case folding, unigram, byte
/// fallback). So a word's pieces depend on nothing else, and the cache is exact. Any bytes are legal; invalid UTF-8
/// becomes byte or unknown pieces. A word of printable ASCII that the cache does not hold is segmented by own code, which
/// gives the library's pieces at a tenth of its cost.
package struct Tokenizer: ~Copyable {
    private let model: PieceModel
    private let handle: OpaquePointer

    /// `cacheSlots` is a power of two up to 2^20: words that are remembered, 32 bytes each.
    package init(model: PieceModel, cacheSlots: Int = 131_072) {
        precondition(cacheSlots > 3 && cacheSlots <= 1 << 20 && cacheSlots & (cacheSlots - 1) == 0)
        guard let handle = sae_tokenizer_new(model.handle, UInt32(cacheSlots)) else {
            preconditionFailure("out of memory for the word cache")
        }
        self.model = model
        self.handle = handle
    }

    deinit { sae_tokenizer_free(handle) }

    /// Puts the pieces of `text` into `pieces`, at most `maximumPieces`; true when there were more. Allocates
    /// nothing when the buffer has been used with this maximum before and every word with a byte outside printable ASCII is
    /// in the cache: those over 16 bytes or of more than 7 pieces never are, and go to the library, which allocates, each
    /// time. `next` is the text that the next call will encode, unchanged until then: what it needs is fetched meanwhile.
    /// Without `usingCache` every word goes to the library: the same ids, for tests.
    package mutating func encode(
        _ text: UnsafeBufferPointer<UInt8>, next: UnsafeBufferPointer<UInt8>? = nil, maximumPieces: Int,
        usingCache: Bool = true, into pieces: inout PieceBuffer
    ) -> Bool {
        var wasCut: Int32 = 0
        pieces.fill(capacity: maximumPieces) { ids in
            let count =
                usingCache
                ? sae_tokenizer_encode(
                    handle, text.baseAddress, text.count, next?.baseAddress, next?.count ?? 0, ids, maximumPieces, &wasCut)
                : sae_tokenizer_encode_plainly(handle, text.baseAddress, text.count, ids, maximumPieces, &wasCut)
            precondition(count >= 0, "the library fails on no input once its model is open")
            return count
        }
        return wasCut != 0
    }

    /// Pieces with the bytes of `text` that each came from, for people to look at: slower, same ids.
    package func encodeWithSpans(
        _ text: UnsafeBufferPointer<UInt8>
    ) -> (ids: [UInt32], begins: [UInt32], ends: [UInt32]) {
        var result: (ids: [UInt32], begins: [UInt32], ends: [UInt32]) = ([], [], [])
        let capacity = Int(SAE_MAXIMUM_RUN) * 12
        var ids = [UInt32](repeating: 0, count: capacity)
        var begins = ids
        var ends = ids
        var offset = 0
        while true {
            let size = sae_next_word(text.baseAddress, text.count, &offset)
            guard size > 0 else { return result }
            let word = text[offset..<offset + size].map {
                CChar(bitPattern: (65...90).contains($0) ? $0 + 32 : $0)
            }
            let count = sae_pieces_encode(model.handle, word, size, &ids, &begins, &ends, capacity)
            for index in 0..<max(0, count) {
                result.ids.append(ids[index])
                result.begins.append(UInt32(offset) + begins[index])
                result.ends.append(UInt32(offset) + ends[index])
            }
            offset += size
        }
    }

    /// Words found in the cache, and words that the trie or the library segmented, since the start.
    package var cacheCounts: (hits: UInt64, misses: UInt64) {
        var hits: UInt64 = 0
        var misses: UInt64 = 0
        sae_tokenizer_counts(handle, &hits, &misses)
        return (hits, misses)
    }
}
