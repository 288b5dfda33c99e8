import Bytes
import SAEClient
import SAEEngine
import Vectors

/// Vectors of some texts, and for each text the reason why it has none.
struct EmbeddedBlock {
    /// Rows x `dimensions`, row-major; the row of a text with an error is zero.
    var vectors: [Float]
    var dimensions: Int
    /// One a row; nil where the vector is good.
    var errors: [String?]
}

/// In process or over a socket: the same vectors, to the bit.
protocol TextEmbedder {
    func embed(_ lines: TextLines, _ range: Range<Int>) async throws -> EmbeddedBlock
    /// The length of the vectors, where no text tells it.
    func dimensions() async throws -> Int
}

struct LocalEmbedder: TextEmbedder {
    let engine: Engine
    let leading: Int
    let temperature: Temperature
    let threads: Int

    func embed(_ lines: TextLines, _ range: Range<Int>) async throws -> EmbeddedBlock {
        var texts = TextBatch()
        for index in range { texts.append(utf8: lines[index]) }
        let batch = engine.embed(texts, temperature: temperature, threads: min(threads, max(1, range.count / 64)))
        // The vectors before this block came of another arithmetic.
        if let failure = engine.takeScorerFailure() { throw CommandError.scorerFailed(failure) }
        var vectors = batch.vectors
        if leading < batch.dimensions {
            var bytes: [UInt8] = []
            batch.vectors.withUnsafeBufferPointer {
                VectorEncoding.float32.append($0, dimensions: batch.dimensions, leading: leading, to: &bytes)
            }
            vectors = floats(bytes)
        }
        return EmbeddedBlock(
            vectors: vectors, dimensions: leading, errors: batch.outcomes.map { $0.status.reason(TextLimits()) })
    }

    func dimensions() -> Int { leading }
}

final class DaemonEmbedder: TextEmbedder {
    private let client: Client
    /// 0: all of the model's.
    private let leading: Int
    /// 0: the model's own.
    private let temperature: Float
    /// Of a block.
    private let timeout: Duration
    /// What the first block was embedded by; 0 before.
    private var generation: UInt64 = 0

    init(client: Client, leading: Int, temperature: Float, timeout: Duration) {
        self.client = client
        self.leading = leading
        self.temperature = temperature
        self.timeout = timeout
    }

    func embed(_ lines: TextLines, _ range: Range<Int>) async throws -> EmbeddedBlock {
        var options = EmbedOptions()
        options.dimensions = leading
        options.temperature = temperature
        options.generation = generation
        let bytes = Array(
            lines.bytes[
                (range.lowerBound == 0 ? 0 : lines.ends[range.lowerBound - 1])..<lines.ends[
                    range.upperBound - 1]])
        let answer: EncodedEmbeddings
        do throws(ClientError) {
            answer = try await client.embed(
                bytes: bytes, lengths: range.map { UInt32(lines.range($0).count) }, as: .float32, options: options,
                timeout: timeout)
        } catch {
            // Vectors of two models must not stand in one file.
            throw error.code == .failedPrecondition ? CommandError.modelChanged : error
        }
        generation = answer.generation
        var errors = [String?](repeating: nil, count: answer.count)
        for error in answer.errors { errors[error.index] = error.message }
        return EmbeddedBlock(vectors: floats(answer.bytes), dimensions: answer.dimensions, errors: errors)
    }

    func dimensions() async throws -> Int {
        leading > 0 ? leading : try await client.information().dimensions
    }
}

/// Little-endian binary32 numbers.
private func floats(_ bytes: [UInt8]) -> [Float] {
    bytes.withUnsafeBytes { raw in
        (0..<raw.count / 4).map {
            Float(
                bitPattern: UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: $0 * 4, as: UInt32.self)))
        }
    }
}
