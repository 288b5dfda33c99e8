import Messages
import SwiftProtobuf
import Wire

extension Client {
    /// The vectors of any sequence of texts, however long, in order, some at a time. The texts are asked for as the server takes them:
    /// a few chunks ahead of what has come back, and no further while nobody takes the vectors.
    ///
    /// All are of one model generation: `aborted` is thrown when the server gives it up before the end. A connection that is lost, or a server that drains, is gone on from elsewhere with the first
    /// texts that were not answered.
    ///
    /// ```swift
    /// for try await part in client.embedStream(lines) { write(part.bytes) }
    /// ```
    public func embedStream<Texts: AsyncSequence>(
        _ texts: Texts, as encoding: VectorEncoding = .float32, options: EmbedOptions = EmbedOptions()
    ) -> EmbeddingStream<AsyncMapSequence<Texts, [UInt8]>> where Texts.Element == String {
        embedStream(texts.map { Array($0.utf8) }, as: encoding, options: options)
    }

    /// As above, for texts of any bytes.
    public func embedStream<Texts: AsyncSequence>(
        _ texts: Texts, as encoding: VectorEncoding = .float32, options: EmbedOptions = EmbedOptions()
    ) -> EmbeddingStream<Texts> where Texts.Element == [UInt8] {
        EmbeddingStream(client: self, texts: texts, encoding: encoding, options: options)
    }

    /// What a frame says of the vectors of `count` texts.
    static func embeddings(_ frame: Frame, count: Int, _ encoding: VectorEncoding) throws(ClientError) -> EncodedEmbeddings {
        guard let response = wireMessage(Sae_V1_EmbedResponse.self, frame.message),
            Int(response.count) == count, response.encoding.rawValue == Int(encoding.rawValue),
            response.errors.allSatisfy({ $0.index < response.count }),
            frame.attachment.count == count * encoding.rowBytes(dimensions: Int(response.dimensions))
        else { throw malformed }
        return EncodedEmbeddings(response, frame, encoding)
    }
}

/// Vectors as they come: each element has those of the next texts, its indices counted within it.
public struct EmbeddingStream<Texts: AsyncSequence>: AsyncSequence where Texts.Element == [UInt8] {
    public typealias Element = EncodedEmbeddings

    let client: Client
    let texts: Texts
    let encoding: VectorEncoding
    let options: EmbedOptions

    public func makeAsyncIterator() -> Iterator {
        Iterator(source: texts.makeAsyncIterator(), flow: EmbeddingFlow(client, encoding, options))
    }

    public struct Iterator: AsyncIteratorProtocol {
        var source: Texts.AsyncIterator
        let flow: EmbeddingFlow
        var hasEnded = false

        /// - Throws: what the texts' sequence throws, or `ClientError`.
        public mutating func next() async throws -> EncodedEmbeddings? {
            while !hasEnded, flow.wantsMore {
                guard let text = try await source.next() else {
                    hasEnded = true
                    try await flow.endInput()
                    break
                }
                try await flow.add(text)
            }
            return try await flow.next()
        }
    }
}

/// The chunks of one embedding stream that are under way. Used by one task at a time, the iterator's.
final class EmbeddingFlow {
    private struct Chunk {
        var lengths: [UInt32] = []
        var bytes: [UInt8] = []
    }

    private let client: Client
    private let encoding: VectorEncoding
    private var options: EmbedOptions
    private var conversation: Conversation?
    /// The texts that have come since the last chunk was sent, and the chunks that were sent and not answered.
    private var gathered = Chunk()
    private var unanswered: [Chunk] = []
    private var isSealed = false

    private static let chunkTexts = 256
    private static let ahead = 4

    init(_ client: Client, _ encoding: VectorEncoding, _ options: EmbedOptions) {
        self.client = client
        self.encoding = encoding
        self.options = options
    }

    deinit { conversation?.cancel() }

    var wantsMore: Bool { unanswered.count < Self.ahead }

    /// Texts of a chunk: the answers of all that are under way fit the window that this client gives, so that none waits for another to
    /// be taken.
    private var mostTexts: Int {
        let row = encoding.rowBytes(dimensions: options.dimensions > 0 ? options.dimensions : 1_024) + 100
        let server = Int(clamping: client.serverLimits["limits.max_chunk_texts"] ?? 512)
        return max(1, min(Self.chunkTexts, server, (Client.initialWindow / Self.ahead - 256) / row))
    }

    /// Bytes of a chunk, with its message, that the server takes in one.
    private var mostBytes: Int { min(client.serverInitialWindow, client.serverMaximumFrameBytes) - 8 * Self.chunkTexts }

    func add(_ text: [UInt8]) async throws {
        let size = text.count
        guard size <= mostBytes else {
            throw ClientError(
                .invalidArgument, "a text is longer than the server's window", limit: "limits.initial_window",
                limitValue: UInt64(client.serverInitialWindow))
        }
        if gathered.bytes.count + size > mostBytes { try await sendGathered() }
        gathered.bytes += text
        gathered.lengths.append(UInt32(size))
        if gathered.lengths.count == mostTexts { try await sendGathered() }
    }

    func endInput() async throws {
        isSealed = true
        if !gathered.lengths.isEmpty { try await sendGathered() }
    }

    private func sendGathered() async throws {
        unanswered.append(gathered)
        gathered = Chunk()
        guard conversation != nil, let chunk = unanswered.last else { return try await reopen() }
        // A loss is met behind the answers that have come.
        do { try await send(chunk) } catch let error as ClientError where isLoss(error) {}
    }

    /// The vectors of the next chunk; nil once all are answered.
    func next() async throws -> EncodedEmbeddings? {
        while let chunk = unanswered.first {
            do {
                guard let conversation, let frame = try await conversation.next() else {
                    throw ClientError(.unavailable, "the server ended the stream")
                }
                let answer = try Client.embeddings(frame, count: chunk.lengths.count, encoding)
                unanswered.removeFirst()
                options.generation = answer.generation
                return answer
            } catch let error as ClientError where isLoss(error) {
                try await reopen()
            }
        }
        guard isSealed, let conversation else { return nil }
        // All are answered: how the call ends changes nothing.
        conversation.finishSending()
        _ = try? await conversation.next()
        self.conversation = nil
        return nil
    }

    /// Whether another stream may go on: after a loss, or where the generation went before it answered anything.
    private func isLoss(_ error: ClientError) -> Bool {
        error.code == .unavailable || error.code == .aborted && options.generation == 0
    }

    /// Opens a stream, again after a loss, and sends what was not answered.
    private func reopen() async throws {
        conversation?.cancel()
        conversation = nil
        let request = Sae_V1_EmbedRequest.with {
            $0.encoding = Sae_V1_Encoding(rawValue: Int(encoding.rawValue)) ?? .f32
            $0.dimensions = UInt32(clamping: options.dimensions)
            $0.truncate = options.truncates
            $0.temperature = options.temperature
            $0.ifGeneration = options.generation
            $0.wantPieces = options.countsPieces
        }
        try await client.persisting {
            conversation = try await client.open(.embedStream, message: wireBytes(request))
            for chunk in unanswered { try await send(chunk) }
        }
    }

    private func send(_ chunk: Chunk) async throws {
        let message = wireBytes(Sae_V1_EmbedChunk.with { $0.lengths = chunk.lengths })
        try await conversation?.send(message, attachment: chunk.bytes)
    }
}
