import FoundationEssentials
import Messages
import SAEEngine
import SwiftProtobuf
import Transport
import Vectors
import Wire

/// Turns calls into requests for the workers, or answers them on the spot.
struct Methods: Sendable {
    private let configuration: Configuration
    private let engine: Engine
    /// The name in answers.
    let modelName: String
    var generation: UInt64 { engine.generation }
    var dimensions: Int { engine.dimensions }
    /// Of the model, or of the generation of a rule library.
    var digest: [UInt8] { engine.digest }
    private let workerCount: Int
    private let started = monotonicNanoseconds()

    init(_ configuration: Configuration, engine: Engine, workerCount: Int) {
        self.configuration = configuration
        self.engine = engine
        self.workerCount = workerCount
        modelName = configuration.modelName.isEmpty ? engine.modelName : configuration.modelName
    }

    /// The request that a queued call asks for, its fields and lengths checked.
    func request(_ arrived: Arrival, on connection: any RequestOwner) throws(Failure) -> Request {
        switch arrived.call.method {
        case .embed: try embed(arrived, on: connection)
        case .similarity: try similarity(arrived, on: connection)
        case .tokenize: try tokenize(arrived, on: connection)
        case .info, .healthCheck: throw Failure(.internal, "\(arrived.call.method.name) is not queued")
        }
    }

    /// The answer to a call that needs no worker.
    func answer(_ call: Call, state: ServiceState) throws(Failure) -> Answer {
        switch call.method {
        case .info: return Answer(message: wireBytes(info(state)), attachment: nil)
        case .healthCheck:
            let request = try message(Sae_V1_HealthCheckRequest.self, call)
            guard request.service.isEmpty || request.service == "sae.v1.Embedding" else {
                throw Failure(.notFound, "unknown service")
            }
            var response = Sae_V1_HealthCheckResponse()
            response.status = state == .serving ? .serving : .notServing
            return Answer(message: wireBytes(response), attachment: nil)
        case .embed, .similarity, .tokenize: throw Failure(.internal, "\(call.method.name) needs a worker")
        }
    }

    private func embed(_ arrived: Arrival, on connection: any RequestOwner) throws(Failure) -> Request {
        var fields = EmbedRequestFields()
        let frame = arrived.call.frame
        do throws(EmbedRequestFields.Failure) {
            try decode(frame, into: &fields)
        } catch {
            switch error {
            case .malformed: throw Self.malformed
            case .tooManyTexts: throw tooManyTexts
            }
        }
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
        let bytes = EmbedCall.answerBytes(fields.lengths.count, encoding, dimensions)
        guard bytes <= Int(connection.peerMaximumFrameBytes) else {
            throw Failure(
                .invalidArgument, "the answer is over what the client accepts", limit: "client.max_frame_bytes",
                value: UInt64(connection.peerMaximumFrameBytes))
        }
        let texts = try texts(frame, fields.lengths)
        return EmbedCall(
            arrived, on: connection, texts: texts, fields: fields, encoding: encoding, dimensions: dimensions,
            temperature: temperature, limits: limits(truncates: fields.truncate))
    }

    private func decode(
        _ frame: Frame, into fields: inout EmbedRequestFields
    ) throws(EmbedRequestFields.Failure) {
        var failure: EmbedRequestFields.Failure?
        frame.message.withUnsafeBytes { message in
            do throws(EmbedRequestFields.Failure) {
                try fields.decode(message, maximumTexts: configuration.maximumTextsPerRequest)
            } catch { failure = error }
        }
        if let failure { throw failure }
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
            arrived, on: connection, texts: texts, request: request, dimensions: dimensions,
            limits: limits(truncates: request.truncate))
    }

    private func tokenize(_ arrived: Arrival, on connection: any RequestOwner) throws(Failure) -> Request {
        let request = try message(Sae_V1_TokenizeRequest.self, arrived.call)
        let texts = try texts(arrived.call.frame, request.lengths)
        return TokenizeCall(
            arrived, on: connection, texts: texts, request: request, limits: limits(truncates: false),
            generation: generation)
    }

    /// The arithmetic at work, and where it is done.
    var scorer: (name: String, device: String) {
        let parts = engine.numerics.split(separator: ":", maxSplits: 1)
        return (String(parts[0]), parts.count > 1 ? String(parts[1]) : "cpu")
    }

    private func info(_ state: ServiceState) -> Sae_V1_InfoResponse {
        .with {
            $0.server = "sae/\(Version.current)"
            $0.model = modelName
            $0.generation = generation
            $0.generationDigest = engine.digest.withUnsafeBytes { .init($0) }
            $0.dimensions = UInt32(engine.dimensions)
            $0.vocabulary = UInt32(engine.vocabularyCount)
            $0.trainedDimensions = [UInt32(engine.dimensions)]
            $0.scorer = engine.numerics
            $0.device = scorer.device
            $0.workers = UInt32(workerCount)
            $0.uptimeMs = (monotonicNanoseconds() - started) / 1_000_000
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
        guard lengths.count <= configuration.maximumTextsPerRequest else { throw tooManyTexts }
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

    private func message<M: SwiftProtobuf.Message>(_: M.Type, _ call: Call) throws(Failure) -> M {
        guard let message = wireMessage(M.self, call.frame.message) else { throw Self.malformed }
        return message
    }

    private static let malformed = Failure(.invalidArgument, "the message does not parse")

    private var tooManyTexts: Failure {
        Failure(
            .invalidArgument, "too many texts in one request", limit: "limits.max_texts_per_request",
            value: UInt64(configuration.maximumTextsPerRequest))
    }
}
