import Bytes
import Corpora
import SAEClient
import SAEEngine
import Vectors

/// The vectors of chunks, in process or through a daemon: the same bytes.
protocol CorpusEmbedder: Sendable {
    /// Names the bits.
    var generation: UInt64 { get }
    var dimensions: Int { get }
    /// Chunks that may be under way at once, besides the one that is written.
    var concurrency: Int { get }
    func rows(of chunk: CorpusChunk, _ plan: CorpusPlan) async throws -> CorpusRows
}

struct LocalCorpusEmbedder: CorpusEmbedder {
    let engine: Engine
    let threads: Int

    var generation: UInt64 { engine.generation }
    var dimensions: Int { engine.dimensions }
    /// A chunk has enough texts for all threads.
    var concurrency: Int { 1 }

    func rows(of chunk: CorpusChunk, _ plan: CorpusPlan) async throws -> CorpusRows {
        guard let texts = TextBatch(bytes: chunk.texts, lengths: chunk.lengths) else {
            preconditionFailure("the texts of a chunk are as long as they are")
        }
        let limits = TextLimits(maximumTextBytes: plan.maximumTextBytes, maximumPieces: plan.maximumPieces, truncates: plan.truncates)
        let batch = engine.embed(texts, limits: limits, threads: min(threads, max(1, texts.count / 64)))
        var bytes: [UInt8] = []
        batch.vectors.withUnsafeBufferPointer {
            plan.encoding.append($0, dimensions: batch.dimensions, leading: plan.dimensions, to: &bytes)
        }
        var failures = chunk.failures
        for (row, outcome) in batch.outcomes.enumerated() where failures[row] == nil {
            if let reason = outcome.status.reason(limits) {
                failures[row] = CorpusRowFailure(code: outcome.status == .noDirection ? "INTERNAL" : "INVALID_ARGUMENT", message: reason)
            }
        }
        return plan.rows(bytes, firstRow: chunk.firstRow, count: chunk.rowCount, failures: failures, ids: chunk.ids[...])
    }
}

/// Streams, one a chunk, over several connections. Each goes on where it was when its connection is lost.
struct RemoteCorpusEmbedder: CorpusEmbedder {
    /// A connection each.
    private let clients: [Client]
    let generation: UInt64
    let dimensions: Int
    var concurrency: Int { clients.count }

    init(_ clients: [Client]) async throws {
        self.clients = clients
        let information = try await clients[0].information()
        (generation, dimensions) = (information.generation, information.dimensions)
    }

    func rows(of chunk: CorpusChunk, _ plan: CorpusPlan) async throws -> CorpusRows {
        var options = EmbedOptions()
        options.dimensions = plan.dimensions
        options.truncates = plan.truncates
        options.generation = generation
        guard let encoding = SAEClient.VectorEncoding(rawValue: plan.encoding.rawValue) else {
            preconditionFailure("client and engine have the same encodings")
        }
        let client = clients[chunk.index % clients.count]
        let texts = ChunkTexts(chunk, longest: longestText(plan, client))
        var (vectors, scales, failures, row): ([UInt8], [Float], [Int: CorpusRowFailure], Int) = ([], [], chunk.failures, 0)
        do {
            for try await part in client.embedStream(texts, as: encoding, options: options) {
                vectors += part.bytes
                scales += part.scales
                for error in part.errors where failures[row + error.index] == nil {
                    failures[row + error.index] = CorpusRowFailure(
                        code: error.code == 3 ? "INVALID_ARGUMENT" : "INTERNAL", message: error.message)
                }
                row += part.count
            }
        } catch let error as ClientError where [.failedPrecondition, .aborted].contains(error.code) {
            // Vectors of two models must not stand in one file.
            throw CommandError.modelChanged
        }
        vectors += scales.withUnsafeBytes { Array($0) }
        return plan.rows(vectors, firstRow: chunk.firstRow, count: chunk.rowCount, failures: failures, ids: chunk.ids[...])
    }

    /// Bytes of a text that it is sent with: no more tell the daemon whether it is too long, and where it is cut.
    private func longestText(_ plan: CorpusPlan, _ client: Client) -> Int {
        max(plan.maximumTextBytes, Int(clamping: client.serverLimits["limits.max_text_bytes"] ?? 0)) + 4
    }
}

/// The texts of a chunk, one after the other.
private struct ChunkTexts: AsyncSequence, AsyncIteratorProtocol {
    private let chunk: CorpusChunk
    private let longest: Int
    private var (row, start) = (0, 0)

    init(_ chunk: CorpusChunk, longest: Int) {
        self.chunk = chunk
        self.longest = longest
    }

    func makeAsyncIterator() -> ChunkTexts { self }

    mutating func next() async -> [UInt8]? {
        guard row < chunk.rowCount else { return nil }
        let count = Int(chunk.lengths[row])
        defer { (row, start) = (row + 1, start + count) }
        return Array(chunk.texts[start..<start + Swift.min(count, longest)])
    }
}
