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

    private weak var generation: Generation?
    private let engine: Engine
    private var workspace: Workspace
    private var batch: EmbeddingBatch
    /// For Tokenize: spans are not cached, so it needs next to no cache.
    private let spans: Tokenizer
    private var counts = Counts()
    private let onScorerFailure: @Sendable (String) -> Void
    private var cacheSeen: (hits: UInt64, misses: UInt64) = (0, 0)

    /// `onScorerFailure` hears once, in words, why a scorer was given up.
    init(_ generation: Generation, onScorerFailure: @escaping @Sendable (String) -> Void) {
        self.generation = generation
        engine = generation.engine
        self.onScorerFailure = onScorerFailure
        workspace = engine.makeWorkspace()
        batch = EmbeddingBatch(dimensions: engine.dimensions)
        spans = Tokenizer(model: engine.model.pieces, cacheSlots: 4)
    }

    func isFor(_ other: Generation) -> Bool { generation === other }
    /// Nobody serves by the generation any more, and no request or stream holds it.
    var isAbandoned: Bool { generation == nil }

    /// So much text, or one text, is embedded between two looks at whether anybody still waits for it: under 0.1 ms.
    private static let bytesBetweenLooks = 4_096

    /// Embeds the texts of `range`, some at a time, and shows each time which, their rows (`count` x `width`) and
    /// their outcomes. Leaves the rest once nobody waits for it.
    func embed(
        _ request: Request, _ range: Range<Int>, limits: TextLimits, temperature: Temperature = .fitted,
        _ body: (Range<Int>, UnsafeBufferPointer<Float>, ArraySlice<RowOutcome>, Int) -> Void
    ) {
        var first = range.lowerBound
        while first < range.upperBound, !request.isInVain {
            var end = first, bytes = 0
            repeat {
                bytes += Int(request.lengths[end])
                end += 1
            } while end < range.upperBound && bytes < Self.bytesBetweenLooks
            engine.embed(
                request.texts, first..<end, limits: limits, temperature: temperature, using: &workspace, into: &batch)
            request.observe(engine.generation(of: workspace))
            if let failure = engine.takeScorerFailure() { onScorerFailure(failure) }
            for outcome in batch.outcomes { counts.pieces += outcome.pieceCount }
            counts.bytes += bytes
            batch.vectors.withUnsafeBufferPointer { body(first..<end, $0, batch.outcomes[...], engine.dimensions) }
            first = end
        }
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
