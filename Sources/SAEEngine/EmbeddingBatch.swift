/// Vectors of a batch of texts, with what became of each text. Reused from batch to batch.
public struct EmbeddingBatch: Sendable {
    public let dimensions: Int
    /// `count × dimensions`, row-major, unit length; the row of a text in error is all zero bits.
    public internal(set) var vectors: [Float] = []
    public internal(set) var outcomes: [RowOutcome] = []

    public init(dimensions: Int) { self.dimensions = dimensions }

    public var count: Int { outcomes.count }

    /// The vector of one text.
    public func vector(_ row: Int) -> ArraySlice<Float> { vectors[row * dimensions..<(row + 1) * dimensions] }

    /// Makes room for `count` rows, which still hold what they held; allocates only to grow.
    mutating func reset(count: Int) {
        let size = count * dimensions
        if vectors.count > size { vectors.removeLast(vectors.count - size) }
        if vectors.count < size { vectors.append(contentsOf: repeatElement(0, count: size - vectors.count)) }
        outcomes.removeAll(keepingCapacity: true)
    }

    mutating func append(_ other: EmbeddingBatch) {
        vectors.append(contentsOf: other.vectors)
        outcomes.append(contentsOf: other.outcomes)
    }
}

/// What became of one text.
public struct RowOutcome: Sendable, Equatable {
    public var status: RowStatus
    /// Pieces that the vector is made of; 0 for a text in error.
    public var pieceCount: Int
    /// Only the leading part of the text was used.
    public var isTruncated: Bool

    package init(status: RowStatus, pieceCount: Int, isTruncated: Bool) {
        self.status = status
        self.pieceCount = pieceCount
        self.isTruncated = isTruncated
    }
}

public enum RowStatus: Sendable, Equatable {
    case ok
    /// The text is empty, or nothing but white space.
    case noPieces
    /// Longer than `TextLimits.maximumTextBytes`.
    case tooManyBytes
    /// More pieces than `TextLimits.maximumPieces`.
    case tooManyPieces
    /// The sum of the pieces has no direction: zero, or not finite.
    case noDirection

    /// Why the text has no vector, in the words of commands and daemon alike; nil if it has one.
    package func reason(_ limits: TextLimits) -> String? {
        switch self {
        case .ok: nil
        case .noPieces: "the text is empty"
        case .tooManyBytes: "the text is longer than \(limits.maximumTextBytes) bytes"
        case .tooManyPieces: "the text has more than \(limits.maximumPieces) pieces"
        case .noDirection: "the text's pieces cancel each other out"
        }
    }
}
