import Bytes
package import Rules

/// A SHA-256 digest.
package struct Digest: Sendable, Hashable, Comparable, CustomStringConvertible {
    package static let byteCount = 32
    package let bytes: [UInt8]

    package init(_ bytes: [UInt8]) {
        precondition(bytes.count == Self.byteCount, "a digest has 32 bytes")
        self.bytes = bytes
    }

    package init(of bytes: [UInt8]) { self.init(bytes.withUnsafeBytes { SHA256.digest(of: $0) }) }

    /// 64 hexadecimal digits.
    package init?(hexadecimal text: some StringProtocol) {
        let digits = text.utf8.compactMap { Character(Unicode.Scalar($0)).hexDigitValue }
        guard digits.count == 2 * Self.byteCount, text.utf8.count == digits.count else { return nil }
        bytes = stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
    }

    package var description: String { hexadecimal(bytes) }
    /// The first 12 hexadecimal digits, as people see it.
    package var short: String { String(description.prefix(12)) }

    package static func < (a: Digest, b: Digest) -> Bool { a.bytes.lexicographicallyPrecedes(b.bytes) }
}

/// Where a generation comes from: with this, it can be made again.
package struct Origin: Sendable, Hashable {
    /// What it was made from, the most important first; none for a first one.
    package var parents: [Digest] = []
    package var seed: UInt64 = 0
    /// Command and options, on one line.
    package var options = ""
    /// Of the texts and of the teacher's vectors that it was judged by.
    package var corpus: Digest?
    package var teacher: Digest?

    package init() {}
}

/// The discrete rules of a model, with the records of their phrases, immutable and named by what it holds.
///
/// It takes the place of the rules that the model file brings along; everything else is the model's. The digest covers
/// rules, records, model and origin, but not what was measured (`Worth`): measuring again does not make another generation.
package struct Generation: Sendable {
    /// The model that the rules are for.
    package let model: Digest
    package let origin: Origin
    package let rules: RuleSet
    /// A record a phrase, as `RecordTable` lays them out.
    package let records: [UInt8]
    package let digest: Digest

    package init(model: Digest, origin: Origin, rules: RuleSet, records: [UInt8]) {
        self.init(model: model, origin: origin, rules: rules, records: records, digest: nil)
    }

    /// `digest`: as it was stored, instead of computed.
    init(model: Digest, origin: Origin, rules: RuleSet, records: [UInt8], digest: Digest?) {
        precondition(rules.phraseCount == 0 ? records.isEmpty : records.count % rules.phraseCount == 0)
        self.model = model
        self.origin = origin
        self.rules = rules
        self.records = records
        self.digest = digest ?? Self.digest(model, origin, rules, records)
    }

    /// What the rules add to a model.
    package var byteCount: UInt64 { UInt64(rules.canonicalByteCount + records.count) }

    package var recordBytes: Int { rules.phraseCount == 0 ? 0 : records.count / rules.phraseCount }

    /// Whether the digest is that of the contents.
    var isIntact: Bool { digest == Self.digest(model, origin, rules, records) }

    /// SHA-256 of, little-endian:
    /// ```
    /// "SAEGENERATION", u8 version = 1, 32 bytes: the model, u32 parents, 32 bytes each, u64 seed, u32 length of the options,
    /// the options, u8 and 32 bytes: the corpus (or u8 0), the same for the teacher,
    /// u64 length of the rules, the rules (`RuleSet.canonicalBytes`), u32 length of a record, the records
    /// ```
    private static func digest(_ model: Digest, _ origin: Origin, _ rules: RuleSet, _ records: [UInt8]) -> Digest {
        var head = ByteWriter()
        head.append(contentsOf: "SAEGENERATION".utf8)
        head.append(UInt8(1))
        head.append(contentsOf: model.bytes)
        head.append(origin)
        let ruleBytes = rules.canonicalBytes
        head.append(UInt64(ruleBytes.count))
        var middle = ByteWriter()
        middle.append(UInt32(rules.phraseCount == 0 ? 0 : records.count / rules.phraseCount))
        let hash = SHA256()
        for part in [head.bytes, ruleBytes, middle.bytes, records] { part.withUnsafeBytes { hash.update($0) } }
        return Digest(hash.finalize())
    }
}

extension ByteWriter {
    mutating func append(_ origin: Origin) {
        append(UInt32(origin.parents.count))
        for parent in origin.parents { append(contentsOf: parent.bytes) }
        append(origin.seed)
        append(text: origin.options)
        for digest in [origin.corpus, origin.teacher] {
            append(UInt8(digest == nil ? 0 : 1))
            append(contentsOf: digest?.bytes ?? [])
        }
    }

    mutating func append(text: String) {
        append(UInt32(text.utf8.count))
        append(contentsOf: text.utf8)
    }
}
