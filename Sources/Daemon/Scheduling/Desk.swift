import Models
import SAEEngine
import Tokenization

/// What one worker thread computes with: the engine's workspace and rows that are used again and again.
final class Desk {
    struct Counts {
        var pieces = 0
        var bytes = 0
        var hits = 0
        var misses = 0
    }

    private let engine: Engine
    private var workspace: Workspace
    private var batch: EmbeddingBatch
    /// For Tokenize: spans are not cached, so it needs next to no cache.
    private let spans: Tokenizer
    private var counts = Counts()
    private var cacheSeen: (hits: UInt64, misses: UInt64) = (0, 0)

    init(_ engine: Engine) {
        self.engine = engine
        workspace = engine.makeWorkspace()
        batch = EmbeddingBatch(dimensions: engine.dimensions)
        spans = Tokenizer(model: engine.model.pieces, cacheSlots: 2)
    }

    /// Embeds the texts of `range` and shows the rows, `range.count` x `width`, and their outcomes.
    func embed(
        _ request: Request, _ range: Range<Int>, limits: TextLimits,
        _ body: (UnsafeBufferPointer<Float>, ArraySlice<RowOutcome>, Int) -> Void
    ) {
        engine.embed(request.texts, range, limits: limits, using: &workspace, into: &batch)
        for outcome in batch.outcomes { counts.pieces += outcome.pieceCount }
        for length in request.lengths[range] { counts.bytes += Int(length) }
        batch.vectors.withUnsafeBufferPointer { body($0, batch.outcomes[...], engine.dimensions) }
    }

    /// Ids of text `index`, and for each the bytes of the text that it came from.
    func tokenize(_ request: Request, _ index: Int) -> (ids: [UInt32], begins: [UInt32], ends: [UInt32]) {
        let range = request.texts.range(of: index)
        let result = request.texts.bytes.withUnsafeBufferPointer {
            spans.encodeWithSpans(UnsafeBufferPointer(rebasing: $0[range]))
        }
        counts.pieces += result.ids.count
        counts.bytes += Int(request.lengths[index])
        return result
    }

    /// The spelling of a piece.
    func piece(_ id: UInt32) -> [UInt8] { engine.model.pieces.piece(id) }

    /// What was computed since the last time.
    func takeCounts() -> Counts {
        defer { counts = Counts() }
        let seen = workspace.cacheCounts
        counts.hits = Int(seen.hits - cacheSeen.hits)
        counts.misses = Int(seen.misses - cacheSeen.misses)
        cacheSeen = seen
        return counts
    }
}
