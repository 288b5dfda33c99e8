/// How a vector's numbers travel.
public enum VectorEncoding: UInt32, Sendable, CaseIterable {
    /// IEEE binary32, little-endian.
    case float32 = 0
    /// IEEE binary16, rounded to nearest even.
    case float16 = 1
    /// Signed bytes, then a binary32 scale a row.
    case int8 = 2
    /// One bit a dimension: 1 iff above zero, dimension 0 in the most significant bit.
    case binary = 3

    /// Bytes of one row of `dimensions`.
    public func rowBytes(dimensions: Int) -> Int {
        switch self {
        case .float32: dimensions * 4
        case .float16: dimensions * 2
        case .int8: dimensions + 4
        case .binary: dimensions / 8
        }
    }
}

/// What `embed` may be asked for beyond the texts.
public struct EmbedOptions: Sendable {
    /// The leading dimensions wanted, normalised again; 0 = all.
    public var dimensions = 0
    /// For graded similarity and retrieval: the model's own temperature.
    public static let similarityTemperature: Float = 0
    /// For classification and clustering: softer gates.
    public static let classificationTemperature: Float = 6

    /// Temperature of the model's gates, 0.25 to 16; 0 = the model's own.
    public var temperature: Float = similarityTemperature
    /// An over-long text is cut instead of being an error of its row.
    public var truncates = false
    /// Only this generation may answer; 0 = any.
    public var generation: UInt64 = 0
    /// Count the pieces of each text.
    public var countsPieces = false

    public init() {}
}

/// One text that has no vector; its row is zero.
public struct RowError: Sendable, Equatable {
    /// Index of the text among those given to the call.
    public var index: Int
    public var code: UInt32
    public var message: String
    /// The configuration key of the limit that was met, or empty.
    public var limit: String
}

/// Vectors as they travelled: the same bytes for the same text, generation and options, always.
public struct EncodedEmbeddings: Sendable, Equatable {
    public internal(set) var encoding: VectorEncoding
    /// Rows: one a text, in order.
    public internal(set) var count = 0
    public internal(set) var dimensions = 0
    /// The id of the model generation that answered.
    public internal(set) var generation: UInt64 = 0
    /// `count` rows in `encoding`; of INT8 the signed bytes without their scales.
    public internal(set) var bytes: [UInt8] = []
    /// INT8: `count` scales; value = byte * scale.
    public internal(set) var scales: [Float] = []
    /// Ascending by index.
    public internal(set) var errors: [RowError] = []
    /// Pieces of each text, if they were asked for.
    public internal(set) var pieceCounts: [Int] = []
    /// Indices of the texts that were cut.
    public internal(set) var truncated: [Int] = []
    /// Time that the request (the slowest one, if the texts were split) waited and was computed at the server.
    public internal(set) var queueTime = Duration.zero
    public internal(set) var computeTime = Duration.zero
}

/// Unit vectors of texts.
public struct Embeddings: Sendable, Equatable {
    public let count: Int
    public let dimensions: Int
    /// `count` x `dimensions`, row-major; the row of a text in `errors` is zero.
    public let vectors: [Float]
    public let generation: UInt64
    /// Ascending by index.
    public let errors: [RowError]
    /// Pieces of each text, if they were asked for.
    public let pieceCounts: [Int]
    /// Indices of the texts that were cut.
    public let truncated: [Int]
    public let queueTime: Duration
    public let computeTime: Duration

    init(_ encoded: EncodedEmbeddings) {
        count = encoded.count
        dimensions = encoded.dimensions
        vectors = encoded.bytes.withUnsafeBytes { floats($0) }
        generation = encoded.generation
        errors = encoded.errors
        pieceCounts = encoded.pieceCounts
        truncated = encoded.truncated
        queueTime = encoded.queueTime
        computeTime = encoded.computeTime
    }

    /// Row `index`.
    public subscript(index: Int) -> ArraySlice<Float> {
        vectors[index * dimensions..<(index + 1) * dimensions]
    }
}

/// Cosines between texts.
public struct SimilarityMatrix: Sendable, Equatable {
    public let rows: Int
    public let columns: Int
    /// `rows` x `columns`, row-major.
    public let cosines: [Float]
    public let generation: UInt64
}

/// The pieces of one text.
public struct TokenizedText: Sendable, Equatable {
    public let ids: [UInt32]
    /// The bytes of each piece, if they were asked for.
    public let pieces: [[UInt8]]
    /// The bytes of the text that each piece stands for, if they were asked for.
    public let spans: [Range<Int>]
    /// Why this text could not be cut into pieces, or nil.
    public let error: RowError?
}

/// How a text became its vector.
public struct TextTrace: Sendable, Equatable {
    /// The version of `json`'s form.
    public let schema: Int
    public let generation: UInt64
    /// What `sae trace --json` prints: UTF-8.
    public let json: [UInt8]
}

/// What a server is and accepts.
public struct ServerInformation: Sendable, Equatable {
    public let server: String
    public let model: String
    public let generation: UInt64
    public let generationDigest: [UInt8]
    public let dimensions: Int
    public let vocabularyCount: Int
    public let workerCount: Int
    public let uptime: Duration
    public let state: String
    /// Limits by their configuration keys.
    public let limits: [String: UInt64]
}

/// Whether a service answers.
public enum ServingStatus: Sendable, Equatable { case unknown, serving, notServing, serviceUnknown }

/// Little-endian binary32 numbers, unaligned.
func floats(_ bytes: UnsafeRawBufferPointer) -> [Float] {
    let count = bytes.count / 4
    return [Float](unsafeUninitializedCapacity: count) { output, initialized in
        UnsafeMutableRawBufferPointer(output).copyMemory(
            from: UnsafeRawBufferPointer(rebasing: bytes[..<(count * 4)]))
        initialized = count
    }
}
