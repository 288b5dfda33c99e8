import Bytes
import Rules

/// Runs of consecutive ids of parts.
struct PartRuns: Equatable {
    private(set) var runs: [Range<UInt64>] = []

    var count: Int { runs.reduce(0) { $0 + $1.count } }
    var ids: some Sequence<UInt64> { runs.lazy.joined() }

    /// Appends an id behind the last one.
    mutating func append(_ id: UInt64) {
        if let last = runs.last, last.upperBound == id {
            runs[runs.count - 1] = last.lowerBound..<id + 1
        } else {
            runs.append(id..<id + 1)
        }
    }

    init() {}

    init(_ runs: [Range<UInt64>]) { self.runs = runs }
}

/// What the library keeps of a generation under its digest: which parts it consists of, where it comes from, and what was
/// measured. Little-endian:
/// ```
/// u32 version = 1, 32 bytes: the model, the origin as in `Generation.digest`,
/// u32 vocabularyCount, contextDimensions, recordBytes,
/// three times u32 runs, then u64 first id and u64 count of each: phrases in their order, classes and rules ascending
/// i64 made, u32 scores, of each u32 length, name, f64; u64 bytes, f64 µs, u32 length of the test vector, f32 each
/// u32 CRC-32C of all before and the digest
/// ```
struct GenerationEntry {
    private static let version: UInt32 = 1

    var model: Digest
    var origin: Origin
    var vocabularyCount: Int
    var contextDimensions: Int
    var recordBytes: Int
    var phrases = PartRuns()
    var classes = PartRuns()
    var rules = PartRuns()
    var worth: Worth

    init(_ generation: Generation, worth: Worth) {
        model = generation.model
        origin = generation.origin
        vocabularyCount = generation.rules.vocabularyCount
        contextDimensions = generation.rules.contextDimensions
        recordBytes = generation.recordBytes
        self.worth = worth
    }

    func serialized(for digest: Digest) -> [UInt8] {
        var writer = ByteWriter()
        writer.append(Self.version)
        writer.append(contentsOf: model.bytes)
        writer.append(origin)
        for size in [vocabularyCount, contextDimensions, recordBytes] { writer.append(UInt32(size)) }
        for part in [phrases, classes, rules] {
            writer.append(UInt32(part.runs.count))
            for run in part.runs {
                writer.append(run.lowerBound)
                writer.append(UInt64(run.count))
            }
        }
        writer.append(worth.madeMilliseconds)
        writer.append(UInt32(worth.scores.count))
        for (name, score) in worth.scores.sorted(by: { $0.key < $1.key }) {
            writer.append(text: name)
            writer.append(score.bitPattern)
        }
        writer.append(worth.bytes)
        writer.append(worth.microseconds.bitPattern)
        writer.append(UInt32(worth.testVector.count))
        for value in worth.testVector { writer.append(value) }
        return writer.bytes.sealed(with: digest.bytes)
    }

    /// Nil for bytes that are not those of an entry of this digest.
    init?(_ sealed: UnsafeRawBufferPointer, for digest: Digest) {
        guard let bytes = digest.bytes.withUnsafeBytes({ unsealed(sealed, with: $0) }) else { return nil }
        var reader = ByteReader(bytes)
        guard reader.next(UInt32.self) == Self.version, let model = reader.digest(), let origin = reader.origin(),
            let sizes = reader.counts(3), let phrases = reader.runs(), let classes = reader.runs(), let rules = reader.runs(),
            let worth = reader.worth(), reader.remaining == 0
        else { return nil }
        (self.model, self.origin, self.worth) = (model, origin, worth)
        (vocabularyCount, contextDimensions, recordBytes) = (sizes[0], sizes[1], sizes[2])
        (self.phrases, self.classes, self.rules) = (phrases, classes, rules)
    }
}

extension [UInt8] {
    /// With a checksum behind it that also covers the key under which it is kept.
    func sealed(with key: [UInt8]) -> [UInt8] {
        var writer = ByteWriter()
        writer.append(contentsOf: self)
        writer.append(checksum(of: self, key))
        return writer.bytes
    }
}

/// The bytes in front of the checksum, or nil when it is another.
func unsealed(_ sealed: UnsafeRawBufferPointer, with key: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
    guard sealed.count >= 4 else { return nil }
    let bytes = UnsafeRawBufferPointer(rebasing: sealed[..<(sealed.count - 4)])
    let stated = UInt32(littleEndian: sealed.loadUnaligned(fromByteOffset: bytes.count, as: UInt32.self))
    return crc32c(key, seed: crc32c(bytes)) == stated ? bytes : nil
}

private func checksum(of bytes: [UInt8], _ key: [UInt8]) -> UInt32 {
    key.withUnsafeBytes { key in bytes.withUnsafeBytes { crc32c(key, seed: crc32c($0)) } }
}

extension ByteReader {
    mutating func digest() -> Digest? { next(count: Digest.byteCount).map { Digest(Array($0)) } }

    mutating func counts(_ count: Int) -> [Int]? {
        var result: [Int] = []
        while result.count < count, let value = next(UInt32.self) { result.append(Int(value)) }
        return result.count == count ? result : nil
    }

    mutating func text() -> String? {
        guard let length = next(UInt32.self), let bytes = next(count: Int(length)) else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    mutating func double() -> Double? { next(UInt64.self).map { Double(bitPattern: $0) } }

    fileprivate mutating func origin() -> Origin? {
        var origin = Origin()
        guard let parents = next(UInt32.self), Int(parents) <= remaining / Digest.byteCount else { return nil }
        for _ in 0..<parents { digest().map { origin.parents.append($0) } }
        guard let seed = next(UInt64.self), let options = text() else { return nil }
        (origin.seed, origin.options) = (seed, options)
        for field in [\Origin.corpus, \Origin.teacher] {
            guard let flag = next(UInt8.self) else { return nil }
            if flag == 1 {
                guard let value = digest() else { return nil }
                origin[keyPath: field] = value
            }
        }
        return origin
    }

    fileprivate mutating func runs() -> PartRuns? {
        guard let count = next(UInt32.self), Int(count) <= remaining / 16 else { return nil }
        var runs: [Range<UInt64>] = []
        for _ in 0..<count {
            guard let first = next(UInt64.self), let length = next(UInt64.self), length > 0, first <= UInt64.max - length
            else { return nil }
            runs.append(first..<first + length)
        }
        return PartRuns(runs)
    }

    fileprivate mutating func worth() -> Worth? {
        guard let made = next(Int64.self), let count = next(UInt32.self) else { return nil }
        var worth = Worth(madeMilliseconds: made)
        for _ in 0..<count {
            guard let name = text(), let score = double() else { return nil }
            worth.scores[name] = score
        }
        guard let bytes = next(UInt64.self), let microseconds = double(), let length = next(UInt32.self),
            Int(length) <= remaining / 4
        else { return nil }
        (worth.bytes, worth.microseconds) = (bytes, microseconds)
        for _ in 0..<length { next(UInt32.self).map { worth.testVector.append(Float(bitPattern: $0)) } }
        return worth
    }
}
