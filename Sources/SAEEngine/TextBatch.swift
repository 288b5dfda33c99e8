/// Texts end to end, any bytes, usually UTF-8. Reused: `removeAll` keeps the storage.
///
/// ```swift
/// let texts = TextBatch(["A cat sat.", "The dog ran."])
/// ```
public struct TextBatch: Sendable {
    /// The texts, one behind the other.
    public private(set) var bytes: [UInt8] = []
    /// Where each text ends in `bytes`.
    public private(set) var ends: [Int] = []

    public init() {}

    public init(_ texts: some Sequence<String>) {
        for text in texts { append(utf8: text.utf8) }
    }

    /// Texts that lie end to end already; nil when the lengths do not add up to the bytes.
    public init?(bytes: [UInt8], lengths: some Sequence<UInt32>) {
        var end = 0
        for length in lengths {
            end += Int(length)
            ends.append(end)
        }
        guard end == bytes.count else { return nil }
        self.bytes = bytes
    }

    public var count: Int { ends.count }

    public mutating func append(utf8 text: some Sequence<UInt8>) {
        bytes.append(contentsOf: text)
        ends.append(bytes.count)
    }

    /// Where a text lies in `bytes`.
    public func range(of index: Int) -> Range<Int> { (index == 0 ? 0 : ends[index - 1])..<ends[index] }

    public mutating func removeAll() {
        bytes.removeAll(keepingCapacity: true)
        ends.removeAll(keepingCapacity: true)
    }
}

/// How long a text may be. The names in configuration are `limits.max_text_bytes` and
/// `limits.max_pieces_per_text`.
public struct TextLimits: Sendable {
    public var maximumTextBytes: Int
    public var maximumPieces: Int
    /// Over-long texts are cut, at a piece boundary, instead of being errors.
    public var truncates: Bool

    public init(maximumTextBytes: Int = 65_536, maximumPieces: Int = 16_384, truncates: Bool = false) {
        self.maximumTextBytes = maximumTextBytes
        self.maximumPieces = maximumPieces
        self.truncates = truncates
    }
}
