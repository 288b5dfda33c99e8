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
    func rows(of chunk: CorpusChunk, _ plan: CorpusPlan) async throws -> CorpusRows
}

struct LocalCorpusEmbedder: CorpusEmbedder {
    let engine: Engine
    let threads: Int

    var generation: UInt64 { engine.generation }
    var dimensions: Int { engine.dimensions }

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

struct RemoteCorpusEmbedder: CorpusEmbedder {
    let client: Client
    let generation: UInt64
    let dimensions: Int

    init(_ client: Client) async throws {
        self.client = client
        let information = try await client.information()
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
        let answer: EncodedEmbeddings
        do throws(ClientError) {
            answer = try await client.embed(
                bytes: chunk.texts, lengths: chunk.lengths, as: encoding, options: options, timeout: .seconds(120))
        } catch {
            // Vectors of two models must not stand in one file.
            throw error.code == .failedPrecondition ? CommandError.modelChanged : error
        }
        var failures = chunk.failures
        for error in answer.errors where failures[error.index] == nil {
            failures[error.index] = CorpusRowFailure(
                code: error.code == 3 ? "INVALID_ARGUMENT" : "INTERNAL", message: error.message)
        }
        let scales = answer.scales.withUnsafeBytes { Array($0) }
        return plan.rows(answer.bytes + scales, firstRow: chunk.firstRow, count: chunk.rowCount, failures: failures, ids: chunk.ids[...])
    }
}
