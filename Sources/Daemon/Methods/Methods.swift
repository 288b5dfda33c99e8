import FoundationEssentials
import Messages
import SAEEngine
import SwiftProtobuf
import Transport
import Vectors
import Wire

/// Turns calls into requests for the workers, or answers them on the spot.
struct Methods: Sendable {
    private let serving: Serving
    private var configuration: Configuration { serving.configuration }
    private var engine: Engine { serving.engine }
    var generation: UInt64 { serving.engine.generation }
    var modelName: String { serving.modelName }
    var dimensions: Int { serving.engine.dimensions }
    /// Of the model, or of the generation of a rule library.
    var digest: [UInt8] { serving.engine.digest }

    init(_ serving: Serving) { self.serving = serving }

    /// The request that a queued call asks for, its fields and lengths checked.
    func request(_ arrived: Arrival, on connection: any RequestOwner) throws(Failure) -> Request {
        switch arrived.call.method {
        case .embed: try embed(arrived, on: connection)
        case .similarity: try similarity(arrived, on: connection)
        case .tokenize: try tokenize(arrived, on: connection)
        case .trace: try trace(arrived, on: connection)
        default: throw Failure(.internal, "\(arrived.call.method.name) is not queued")
        }
    }

    /// The answer to a call that needs no worker.
    func answer(_ call: Call, _ service: Service) throws(Failure) -> Answer {
        switch call.method {
        case .info: return Answer(message: wireBytes(info(service.state)), attachment: nil)
        case .healthCheck:
            let request = try message(Sae_V1_HealthCheckRequest.self, call)
            guard let status = Self.health(of: request.service, service) else { throw Failure(.notFound, "unknown service") }
            let response = Sae_V1_HealthCheckResponse.with { $0.status = status }
            return Answer(message: wireBytes(response), attachment: nil)
        default: throw Failure(.internal, "\(call.method.name) is not answered on the spot")
        }
    }

    /// What Health says of a service; nil for an unknown one.
    static func health(of name: String, _ service: Service) -> Sae_V1_HealthCheckResponse.ServingStatus? {
        switch name {
        case "", "sae.v1.Embedding": service.state == .serving ? .serving : .notServing
        case "sae.v1.Jobs": service.state == .serving && service.jobs.isServing ? .serving : .notServing
        default: nil
        }
    }

    private func embed(_ arrived: Arrival, on connection: any RequestOwner) throws(Failure) -> Request {
        var fields = EmbedRequestFields()
        let maximum = configuration.maximumTextsPerRequest
        try decode(arrived.call.frame, into: &fields, "limits.max_texts_per_request", maximum)
        let options = try options(fields)
        let bytes = EmbedCall.answerBytes(fields.lengths.count, options.encoding, options.dimensions)
        guard bytes <= Int(connection.peerMaximumFrameBytes) else {
            throw tooLarge("client.max_frame_bytes", Int(connection.peerMaximumFrameBytes))
        }
        let texts = try texts(arrived.call.frame, fields.lengths)
        return EmbedCall(
            arrived, on: connection, by: serving.generation, texts: texts, lengths: fields.lengths, options: options)
    }

    /// What an EmbedStream's opening fixes for all of its chunks.
    func stream(_ arrived: Arrival) throws(Failure) -> EmbedStream {
        var fields = EmbedRequestFields()
        try decode(arrived.call.frame, into: &fields, "limits.max_chunk_texts", configuration.maximumChunkTexts)
        guard fields.lengths.isEmpty, arrived.call.frame.attachment.isEmpty else {
            throw Failure(.invalidArgument, "the opening of a stream has no texts: they come in chunks")
        }
        return EmbedStream(arrived, serving: serving, options: try options(fields))
    }

    /// The request of one chunk, whose answer must fit the client's initial window.
    func chunk(
        _ waiting: EmbedStream.Waiting, of stream: EmbedStream, on connection: any RequestOwner, window: Int
    ) throws(Failure) -> EmbedCall {
        var fields = EmbedRequestFields()
        try decode(waiting.frame, into: &fields, "limits.max_chunk_texts", configuration.maximumChunkTexts)
        let texts = try texts(waiting.frame, fields.lengths)
        var options = stream.options
        // One generation from the opening to END, whatever becomes of the engine's scorer.
        options.generation = stream.generation
        let call = Call(
            stream: stream.id, method: .embedStream, timeoutMicroseconds: 0, frame: waiting.frame,
            usesCRC: stream.opening.usesCRC)
        let arrived = Arrival(call: call, time: waiting.arrival, deadline: stream.deadline)
        let request = EmbedCall(
            arrived, on: connection, by: serving.generation, texts: texts, lengths: fields.lengths, options: options)
        let bytes = request.answerBytes
        guard bytes <= window else { throw tooLarge("client.initial_window", window) }
        guard bytes <= Int(connection.peerMaximumFrameBytes) else {
            throw tooLarge("client.max_frame_bytes", Int(connection.peerMaximumFrameBytes))
        }
        return request
    }

    private func tooLarge(_ limit: String, _ value: Int) -> Failure {
        Failure(
            .invalidArgument, "the answer is over what the client accepts", limit: limit, value: UInt64(value))
    }

    private func options(_ fields: EmbedRequestFields) throws(Failure) -> EmbedOptions {
        guard let encoding = VectorEncoding(rawValue: fields.encoding) else {
            throw Failure(.invalidArgument, "unknown encoding \(fields.encoding)")
        }
        let dimensions = try checkedDimensions(fields.dimensions)
        guard encoding != .binary || dimensions % 8 == 0 else {
            throw Failure(.invalidArgument, "BINARY needs a multiple of 8 dimensions, not \(dimensions)")
        }
        guard let temperature = fields.temperature == 0 ? .fitted : Temperature(fields.temperature) else {
            throw Failure(.invalidArgument, "temperature must be from 0.25 to 16, or 0 for the model's own")
        }
        try checkGeneration(fields.ifGeneration)
        return EmbedOptions(
            encoding: encoding, dimensions: dimensions, temperature: temperature,
            limits: limits(truncates: fields.truncate), wantPieces: fields.wantPieces, generation: fields.ifGeneration)
    }

    /// Fails at the first length over `maximum`, the limit of that name.
    private func decode(
        _ frame: Frame, into fields: inout EmbedRequestFields, _ limit: String, _ maximum: Int
    ) throws(Failure) {
        var failure: EmbedRequestFields.Failure?
        frame.message.withUnsafeBytes { message in
            do throws(EmbedRequestFields.Failure) {
                try fields.decode(message, maximumTexts: maximum)
            } catch { failure = error }
        }
        switch failure {
        case nil: break
        case .malformed: throw Self.malformed
        case .tooManyTexts:
            throw Failure(.invalidArgument, "too many texts in one request", limit: limit, value: UInt64(maximum))
        }
    }

    private func trace(_ arrived: Arrival, on connection: any RequestOwner) throws(Failure) -> Request {
        let request = try message(Sae_V1_TraceRequest.self, arrived.call)
        let text = arrived.call.frame.attachment
        guard request.dimensions == 0 || Int(request.dimensions) == engine.dimensions else {
            throw Failure(.invalidArgument, "a trace is of all \(engine.dimensions) dimensions")
        }
        guard text.count <= configuration.maximumTraceBytes else {
            throw Failure(
                .invalidArgument, "the text is over the limit", limit: "limits.max_trace_bytes",
                value: UInt64(configuration.maximumTraceBytes))
        }
        guard let texts = TextBatch(bytes: text, lengths: [UInt32(text.count)]) else {
            throw Failure(.internal, "one text is as long as it is")
        }
        return TraceCall(
            arrived, on: connection, by: serving.generation, texts: texts, limits: limits(truncates: false))
    }

    private func similarity(_ arrived: Arrival, on connection: any RequestOwner) throws(Failure) -> Request {
        let request = try message(Sae_V1_SimilarityRequest.self, arrived.call)
        let dimensions = try checkedDimensions(request.dimensions)
        try checkGeneration(request.ifGeneration)
        let texts = try texts(arrived.call.frame, request.lengths)
        guard request.left == 0 || Int(request.left) < request.lengths.count else {
            throw Failure(.invalidArgument, "left must be below the number of texts")
        }
        let (rows, columns) = SimilarityCall.shape(count: request.lengths.count, left: Int(request.left))
        guard rows * columns <= configuration.maximumSimilarityCells else {
            throw Failure(
                .invalidArgument, "the matrix is over the limit", limit: "limits.max_similarity_cells",
                value: UInt64(configuration.maximumSimilarityCells))
        }
        guard rows * columns * 4 + 256 <= Int(connection.peerMaximumFrameBytes) else {
            throw Failure(
                .invalidArgument, "the answer is over what the client accepts", limit: "client.max_frame_bytes",
                value: UInt64(connection.peerMaximumFrameBytes))
        }
        return SimilarityCall(
            arrived, on: connection, by: serving.generation, texts: texts, request: request, dimensions: dimensions,
            limits: limits(truncates: request.truncate))
    }

    private func tokenize(_ arrived: Arrival, on connection: any RequestOwner) throws(Failure) -> Request {
        let request = try message(Sae_V1_TokenizeRequest.self, arrived.call)
        let texts = try texts(arrived.call.frame, request.lengths)
        return TokenizeCall(
            arrived, on: connection, by: serving.generation, texts: texts, request: request, limits: limits(truncates: false))
    }

    /// The arithmetic at work, and where it is done.
    var scorer: (name: String, device: String) {
        let parts = engine.numerics.split(separator: ":", maxSplits: 1)
        return (String(parts[0]), parts.count > 1 ? String(parts[1]) : "cpu")
    }

    private func info(_ state: ServiceState) -> Sae_V1_InfoResponse {
        .with {
            $0.server = "sae/\(Version.current)"
            $0.model = serving.modelName
            $0.generation = generation
            $0.generationDigest = engine.digest.withUnsafeBytes { .init($0) }
            $0.dimensions = UInt32(engine.dimensions)
            $0.vocabulary = UInt32(engine.vocabularyCount)
            $0.trainedDimensions = [UInt32(engine.dimensions)]
            $0.scorer = engine.numerics
            $0.device = scorer.device
            $0.workers = UInt32(serving.workerCount)
            $0.uptimeMs = (monotonicNanoseconds() - serving.started) / 1_000_000
            $0.state = state.label
            $0.limits = Setting.limits(of: configuration)
            $0.versionMin = ConnectionState.version
            $0.versionMax = ConnectionState.version
        }
    }

    private func limits(truncates: Bool) -> TextLimits {
        var limits = TextLimits()
        limits.maximumTextBytes = configuration.maximumTextBytes
        limits.maximumPieces = configuration.maximumPiecesPerText
        limits.truncates = truncates
        return limits
    }

    /// The texts of a frame: at least one, at most the limit, their lengths summing to the attachment.
    private func texts(_ frame: Frame, _ lengths: [UInt32]) throws(Failure) -> TextBatch {
        guard !lengths.isEmpty else { throw Failure(.invalidArgument, "no text") }
        guard lengths.count <= configuration.maximumTextsPerRequest else {
            throw Failure(
                .invalidArgument, "too many texts in one request", limit: "limits.max_texts_per_request",
                value: UInt64(configuration.maximumTextsPerRequest))
        }
        guard let texts = TextBatch(bytes: frame.attachment, lengths: lengths) else {
            throw Failure(.invalidArgument, "the lengths do not sum to the attachment")
        }
        return texts
    }

    private func checkedDimensions(_ wanted: UInt32) throws(Failure) -> Int {
        guard wanted <= UInt32(engine.dimensions) else {
            throw Failure(.invalidArgument, "dimensions must be from 1 to \(engine.dimensions), or 0 for all")
        }
        return wanted == 0 ? engine.dimensions : Int(wanted)
    }

    private func checkGeneration(_ wanted: UInt64) throws(Failure) {
        guard wanted == 0 || wanted == generation else {
            throw Failure(.failedPrecondition, "another generation serves")
        }
    }

    func message<M: SwiftProtobuf.Message>(_: M.Type, _ call: Call) throws(Failure) -> M {
        guard let message = wireMessage(M.self, call.frame.message) else { throw Self.malformed }
        return message
    }

    private static let malformed = Failure(.invalidArgument, "the message does not parse")
}
