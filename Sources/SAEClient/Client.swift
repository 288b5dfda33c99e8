import Diagnostics
import Encryption
import Messages
import SwiftProtobuf
package import Transport
import Wire

/// A sae daemon, reached over as many connections as the calls need. Any number of tasks may call it at once.
///
/// ```swift
/// let client = try await Client(connectingTo: "tcp://127.0.0.1:7733")
/// let vectors = try await client.embed(["a cat", "a dog"])
/// print(vectors[0].prefix(4))
/// ```
///
/// **Deadlines.** Every call has one, which covers waiting for a connection, all attempts and the answer; past it the call
/// throws `deadlineExceeded` and the server is told. Cancelling the task that waits does the same, with `cancelled`.
///
/// **Connections** are opened when calls need them, up to `ClientOptions.maximumConnections`, and again after they were lost:
/// 100 ms after the first failure, later after each further one, at most 10 s. Calls wait meanwhile, at most
/// `ClientOptions.reconnectTimeout`. A server that drains gets no new call, and those under way are answered.
///
/// **Repeating.** A call of which nothing was begun (the server refused it as overloaded or draining) is made again, up to
/// `ClientOptions.maximumAttempts` times, after the time that the server asks for, or else 50 ms and twice that; one whose
/// connection was lost is made again once: calls change nothing at the server. When many calls fail none is repeated, and
/// other errors never are. A streaming call is made again only while the server has said nothing of it.
public final class Client: Sendable {
    private let pool: Pool

    /// The largest answer taken: 16 MiB, which is what a server reserves for one connection.
    static let maximumFrameBytes = 16_777_216
    /// What a server may send of a streaming call before this side takes it.
    static let initialWindow = 4_456_448

    /// Connects to `tcp://HOST:PORT`, `tls://HOST:PORT` (TLS 1.3) or `unix:PATH`. The name is resolved at each connection.
    ///
    /// - Parameter timeout: for the first connection. While nobody listens it is tried again: a daemon may be starting.
    /// - Throws: `unavailable` or `deadlineExceeded` when nobody answers there in time, `invalidArgument` for an endpoint
    ///   that is none or files of TLS that cannot be used, `unauthenticated` for a token or certificate that the server does not
    ///   take, and for a server that does not prove its name.
    public convenience init(
        connectingTo endpoint: String, options: ClientOptions = ClientOptions(), timeout: Duration = .seconds(5)
    ) async throws(ClientError) {
        try await self.init(
            connectingTo: endpoint, options: options, timeout: timeout, on: IOQueue(label: "sae.client"))
    }

    /// As above, on an I/O queue that other clients may share.
    package init(
        connectingTo endpoint: String, options: ClientOptions, timeout: Duration, on ioQueue: IOQueue
    ) async throws(ClientError) {
        let parsed: Endpoint
        do throws(TransportError) {
            parsed = try Endpoint(parsing: endpoint)
        } catch {
            throw ClientError(.invalidArgument, error.description)
        }
        var encryption: EncryptionContext?
        if case .tls = parsed {
            do throws(EncryptionError) {
                encryption = try EncryptionContext(
                    clientAuthorities: options.tlsAuthorities, certificate: options.tlsCertificate, key: options.tlsKey)
            } catch { throw ClientError(.invalidArgument, error.description) }
        }
        pool = Pool(parsed, encryption, options, on: ioQueue)
        if case .failure(let error) = await pool.open(within: timeout) {
            pool.close()
            throw error
        }
    }

    deinit { pool.close() }

    /// Closes the connections. Calls under way, and later ones, fail with `cancelled`.
    public func close() { pool.close() }

    /// The model generation that served when the last connection was made. Every answer says its own.
    public var generation: UInt64 { pool.server.generation }

    /// The server's limits, by their configuration keys.
    public var serverLimits: [String: UInt64] { pool.server.limits }

    var openingPatience: Duration { pool.openingPatience }
    var serverInitialWindow: Int { Int(pool.server.initialWindow) }
    var serverMaximumFrameBytes: Int { Int(pool.server.maxFrameBytes) }

    /// One request and its answer.
    func call(
        _ method: Method, message: [UInt8], attachment: [UInt8] = [], timeout: Duration
    ) async throws(ClientError) -> Frame {
        let deadline = monotonicNanoseconds() + nanoseconds(timeout)
        return try await pool.call(PendingCall(method, message: message, attachment: attachment, deadline: deadline)).get()
    }

    /// Begins a streaming call, for which there must be a connection within ten seconds, or `reconnectTimeout` if that is longer.
    func open(_ method: Method, message: [UInt8]) async throws(ClientError) -> Conversation {
        let conversation = Conversation(on: pool.ioQueue)
        let call = PendingCall(
            method, message: message, deadline: monotonicNanoseconds() + nanoseconds(pool.openingPatience), conversation: conversation)
        _ = try await pool.call(call).get()
        return conversation
    }

    static let malformed = ClientError(.internal, "the server's answer does not parse")

    /// Cosines of every text in `left` with every one in `right`; without `right`, of all with all.
    ///
    /// - Throws: `invalidArgument` when one of the texts has no vector, naming its index.
    public func similarity(
        _ left: [String], _ right: [String] = [], dimensions: Int = 0, timeout: Duration = .seconds(10)
    ) async throws(ClientError) -> SimilarityMatrix {
        let texts = left + right
        // 0 to the left are, on the wire, all with all.
        guard !left.isEmpty || right.isEmpty else { throw ClientError(.invalidArgument, "no left text is given") }
        let (lengths, attachment) = Self.joined(texts)
        let request = Sae_V1_SimilarityRequest.with {
            $0.lengths = lengths
            $0.left = right.isEmpty ? 0 : UInt32(clamping: left.count)
            $0.dimensions = UInt32(clamping: dimensions)
        }
        let frame = try await call(
            .similarity, message: wireBytes(request), attachment: attachment, timeout: timeout)
        guard let response = wireMessage(Sae_V1_SimilarityResponse.self, frame.message),
            // Not a product of both: a hostile server's overflows.
            response.columns == 0
                ? frame.attachment.isEmpty
                : frame.attachment.count % (4 * Int(response.columns)) == 0
                    && frame.attachment.count / (4 * Int(response.columns)) == Int(response.rows)
        else { throw Self.malformed }
        return SimilarityMatrix(
            rows: Int(response.rows), columns: Int(response.columns),
            cosines: frame.attachment.withUnsafeBytes { floats($0) }, generation: response.generation)
    }

    /// The pieces that each text is cut into.
    public func tokenize(
        _ texts: [String], wantsPieces: Bool = true, wantsSpans: Bool = true,
        timeout: Duration = .seconds(10)
    ) async throws(ClientError) -> [TokenizedText] {
        let (lengths, attachment) = Self.joined(texts)
        let request = Sae_V1_TokenizeRequest.with {
            $0.lengths = lengths
            $0.wantText = wantsPieces
            $0.wantSpans = wantsSpans
        }
        let frame = try await call(.tokenize, message: wireBytes(request), attachment: attachment, timeout: timeout)
        guard let response = wireMessage(Sae_V1_TokenizeResponse.self, frame.message),
            response.texts.count == texts.count
        else { throw Self.malformed }
        var errors: [Int: RowError] = [:]
        for error in response.errors { errors[Int(error.index)] = RowError(error, offset: 0) }
        return response.texts.enumerated().map { index, text in
            let spans = zip(text.begins, text.ends).compactMap { $0 <= $1 ? Int($0)..<Int($1) : nil }
            return TokenizedText(
                ids: text.ids, pieces: text.pieces.map { Array($0) }, spans: spans, error: errors[index])
        }
    }

    /// What the server is, which model it serves, and its limits.
    public func information(timeout: Duration = .seconds(10)) async throws(ClientError) -> ServerInformation {
        let frame = try await call(.info, message: [], timeout: timeout)
        guard let response = wireMessage(Sae_V1_InfoResponse.self, frame.message) else { throw Self.malformed }
        return ServerInformation(
            server: response.server, model: response.model, generation: response.generation,
            generationDigest: Array(response.generationDigest), dimensions: Int(response.dimensions),
            vocabularyCount: Int(response.vocabulary), workerCount: Int(response.workers),
            uptime: .milliseconds(Int64(clamping: response.uptimeMs)), state: response.state,
            limits: response.limits)
    }

    /// Whether a service answers: "" for the daemon, "sae.v1.Embedding" or "sae.v1.Jobs".
    ///
    /// - Throws: `notFound` for a service that the daemon does not know.
    public func health(
        of service: String = "", timeout: Duration = .seconds(10)
    ) async throws(ClientError) -> ServingStatus {
        let request = Sae_V1_HealthCheckRequest.with { $0.service = service }
        let frame = try await call(.healthCheck, message: wireBytes(request), timeout: timeout)
        guard let response = wireMessage(Sae_V1_HealthCheckResponse.self, frame.message) else {
            throw Self.malformed
        }
        return ServingStatus(response.status)
    }

    /// Whether a service answers, now and at each change; `serviceUnknown` for one that the daemon does not know. Of several changes
    /// that come while nobody looks the last is told. A connection that is lost is made again.
    public func healthUpdates(of service: String = "") -> AsyncThrowingStream<ServingStatus, any Error> {
        let request = wireBytes(Sae_V1_HealthCheckRequest.with { $0.service = service })
        return updates(.healthWatch, request) { (response: Sae_V1_HealthCheckResponse) in ServingStatus(response.status) }
    }

    /// What a call of any number of answers tells, each as `read` has it, until the server ends the call.
    func updates<Answer: SwiftProtobuf.Message, Update: Sendable>(
        _ method: Method, _ request: [UInt8], _ read: @escaping @Sendable (Answer) -> Update
    ) -> AsyncThrowingStream<Update, any Error> {
        AsyncThrowingStream(bufferingPolicy: .bufferingNewest(1)) { continuation in
            let task = Task {
                do {
                    try await persisting {
                        let conversation = try await self.open(method, message: request)
                        defer { conversation.cancel() }
                        while let frame = try await conversation.next() {
                            guard let message = wireMessage(Answer.self, frame.message) else { throw Self.malformed }
                            continuation.yield(read(message))
                        }
                    }
                    continuation.finish()
                } catch { continuation.finish(throwing: error) }
            }
            continuation.onTermination = { _ in task.cancel() }
        }
    }

    /// How one text becomes its vector: pieces, weights, rules, for a person who wants to know why.
    ///
    /// - Throws: `invalidArgument` for a text without a vector, or longer than the server's `limits.max_trace_bytes`.
    public func trace(_ text: String, timeout: Duration = .seconds(10)) async throws(ClientError) -> TextTrace {
        let frame = try await call(.trace, message: [], attachment: Array(text.utf8), timeout: timeout)
        guard let response = wireMessage(Sae_V1_TraceResponse.self, frame.message) else { throw Self.malformed }
        return TextTrace(schema: Int(response.schema), generation: response.generation, json: frame.attachment)
    }

    static func joined(_ texts: [String]) -> (lengths: [UInt32], attachment: [UInt8]) {
        var attachment: [UInt8] = []
        let lengths = texts.map { text in
            let before = attachment.count
            attachment.append(contentsOf: text.utf8)
            return UInt32(clamping: attachment.count - before)
        }
        return (lengths, attachment)
    }
}

extension ServingStatus {
    init(_ status: Sae_V1_HealthCheckResponse.ServingStatus) {
        self =
            switch status {
            case .serving: .serving
            case .notServing: .notServing
            case .serviceUnknown: .serviceUnknown
            case .unknown, .UNRECOGNIZED: .unknown
            }
    }
}

extension RowError {
    init(_ error: Sae_V1_RowError, offset: Int) {
        self.init(
            index: Int(error.index) + offset, code: error.code, message: error.message, limit: error.limit)
    }
}
