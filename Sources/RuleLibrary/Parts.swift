import Bytes
import KeyValueStore
import Rules

/// What generations consist of and share. A part is kept once, under an id, however many generations use it.
///
/// Table `parts`: u64 id, big-endian → u8 kind, contents, u32 CRC-32C of all before and the id. Contents, little-endian:
/// ```
/// phrase  u32 copy, the record       copy: how many phrases of a generation before this one have the same record
/// class   u32 length of the name, name, u32 members, u64 reference each
/// rule    u8 kind of pattern, u8 edit, u8 n, u16 length of the context, then as `RuleSet.canonicalBytes` with u64 references
///         reference: a piece's id; with bit 63, a phrase's part; with bit 62, a class's part
/// ```
/// Table `identities`: the first 16 bytes of SHA-256 of kind and contents → u64 id.
enum PartKind: UInt8 { case phrase = 1, pieceClass, rule }

enum PartReference {
    static let phraseBit: UInt64 = 1 << 63
    static let classBit: UInt64 = 1 << 62
}

/// A key that sorts as its number.
func partKey(_ id: UInt64) -> [UInt8] { withUnsafeBytes(of: id.bigEndian) { Array($0) } }

/// Writes the parts of one generation.
struct PartWriter {
    private let parts: Table
    private let identities: Table
    private var nextID: UInt64

    init(parts: Table, identities: Table, _ transaction: borrowing WriteTransaction) throws(StoreError) {
        self.parts = parts
        self.identities = identities
        let last = try transaction.view.lastKey(in: parts)
        nextID = (last ?? []).reduce(0) { $0 << 8 | UInt64($1) } + 1
    }

    /// Fills in the runs of an entry.
    mutating func write(
        _ generation: Generation, into entry: inout GenerationEntry, _ transaction: borrowing WriteTransaction
    ) throws {
        let (rules, size) = (generation.rules, generation.recordBytes)
        var copies: [[UInt8]: UInt32] = [:]
        var phraseIDs: [UInt64] = []
        for phrase in 0..<rules.phraseCount {
            let record = Array(generation.records[phrase * size..<(phrase + 1) * size])
            var contents = ByteWriter()
            contents.append(copies[record, default: 0])
            copies[record, default: 0] += 1
            contents.append(contentsOf: record)
            phraseIDs.append(try intern(.phrase, contents.bytes, transaction))
        }
        for id in phraseIDs { entry.phrases.append(id) }
        func reference(_ record: UInt32) -> UInt64 {
            Int(record) < rules.vocabularyCount
                ? UInt64(record) : PartReference.phraseBit | phraseIDs[Int(record) - rules.vocabularyCount]
        }
        var classIDs: [UInt64] = []
        for pieceClass in rules.classes {
            var contents = ByteWriter()
            contents.append(text: pieceClass.name)
            contents.append(UInt32(pieceClass.members.count))
            for member in pieceClass.members { contents.append(reference(member)) }
            classIDs.append(try intern(.pieceClass, contents.bytes, transaction))
        }
        for id in classIDs.sorted() { entry.classes.append(id) }
        var ruleIDs: [UInt64] = []
        ruleIDs.reserveCapacity(rules.rules.count)
        for rule in rules.rules {
            var contents = ByteWriter()
            contents.append(rule, phrase: phraseIDs[Int(rule.phrase)]) { element in
                switch element {
                case .record(let id): reference(id)
                case .pieceClass(let index): PartReference.classBit | classIDs[index]
                }
            }
            ruleIDs.append(try intern(.rule, contents.bytes, transaction))
        }
        for id in ruleIDs.sorted() { entry.rules.append(id) }
    }

    /// The id of a part, which is written if it is not there.
    private mutating func intern(
        _ kind: PartKind, _ contents: [UInt8], _ transaction: borrowing WriteTransaction
    ) throws(StoreError) -> UInt64 {
        let part = [kind.rawValue] + contents
        let identity = Array(part.withUnsafeBytes { SHA256.digest(of: $0) }.prefix(16))
        if let found = try transaction.view.value(of: identity, in: identities), found.count == 8 {
            let key = Array(found)
            if try transaction.view.value(of: key, in: parts) == part.sealed(with: key) {
                return key.reduce(0) { $0 << 8 | UInt64($1) }
            }
            throw .damaged(path: transaction.view.path, reason: "part \(hexadecimal(key)) is another than its identity says")
        }
        let key = partKey(nextID)
        try transaction.put(part.sealed(with: key), for: key, in: parts)
        try transaction.put(key, for: identity, in: identities)
        defer { nextID += 1 }
        return nextID
    }
}

extension ByteWriter {
    fileprivate mutating func append(_ rule: Rule, phrase: UInt64, _ reference: (PatternElement) -> UInt64) {
        let elements = rule.pattern.elements
        let isSequence = if case .sequence = rule.pattern { true } else { false }
        append(UInt8(isSequence ? 0 : 1))
        append(rule.edit.rawValue)
        append(UInt8(elements.count))
        append(UInt16(rule.context.count))
        for element in elements { append(reference(element)) }
        switch rule.pattern {
        case .sequence(_, let gaps): append(contentsOf: gaps)
        case .trigger(_, near: _, let reach): append(reach)
        }
        append(phrase)
        append(rule.worth)
        append(rule.coefficient)
        append(rule.offset)
        for number in rule.context { append(number) }
    }
}

/// Reads the parts of a generation back.
struct PartReader {
    private let parts: Table
    private let path: String
    private var phraseNumbers: [UInt64: UInt32] = [:]
    private var classNumbers: [UInt64: Int] = [:]
    private var vocabularyCount: UInt32 = 0

    init(parts: Table, path: String) {
        self.parts = parts
        self.path = path
    }

    /// The generation of an entry, and the ids of its rules, ascending, with the rule of each.
    mutating func generation(
        _ entry: GenerationEntry, digest: Digest, _ view: borrowing ReadTransaction
    ) throws -> (generation: Generation, ruleIDs: [UInt64], rules: [Rule]) {
        vocabularyCount = UInt32(clamping: entry.vocabularyCount)
        var records: [UInt8] = []
        records.reserveCapacity(min(entry.phrases.count, RuleLimits.maximumRecords) * entry.recordBytes)
        try forEach(entry.phrases, .phrase, view) { id, reader in
            guard reader.next(UInt32.self) != nil, let record = reader.next(count: entry.recordBytes), reader.remaining == 0
            else { return false }
            phraseNumbers[id] = UInt32(phraseNumbers.count)
            records.append(contentsOf: record)
            return true
        }
        var classes: [(id: UInt64, contents: PieceClass)] = []
        try forEach(entry.classes, .pieceClass, view) { id, reader in
            guard let pieceClass = pieceClass(&reader) else { return false }
            classes.append((id, pieceClass))
            return true
        }
        // As a rule set numbers them.
        classes.sort { $0.contents.name < $1.contents.name }
        for (number, pieceClass) in classes.enumerated() { classNumbers[pieceClass.id] = number }
        var (ids, rules): ([UInt64], [Rule]) = ([], [])
        rules.reserveCapacity(min(entry.rules.count, RuleLimits.maximumRules))
        try forEach(entry.rules, .rule, view) { id, reader in
            guard let rule = rule(&reader) else { return false }
            ids.append(id)
            rules.append(rule)
            return true
        }
        let set: RuleSet
        do throws(RuleError) {
            set = try RuleSet(
                vocabularyCount: entry.vocabularyCount, phraseCount: phraseNumbers.count,
                contextDimensions: entry.contextDimensions, classes: classes.map(\.contents), rules: rules)
        } catch {
            throw LibraryError.damaged(path: path, reason: "generation \(digest.short): \(error.summary)")
        }
        guard set.phraseCount * entry.recordBytes == records.count else {
            throw LibraryError.damaged(path: path, reason: "generation \(digest.short) holds a phrase twice")
        }
        let generation = Generation(
            model: entry.model, origin: entry.origin, rules: set, records: records, digest: digest)
        return (generation, ids, rules)
    }

    /// Calls `body` with each part in order; false from it means that the part is not what it should be.
    func forEach(
        _ runs: PartRuns, _ kind: PartKind, _ view: borrowing ReadTransaction,
        _ body: (UInt64, inout ByteReader) throws -> Bool
    ) throws {
        for run in runs.runs {
            var next = run.lowerBound
            try view.forEach(in: parts, from: partKey(run.lowerBound)) { key, value in
                guard key.count == 8, key.loadUnaligned(as: UInt64.self).byteSwapped == next else { return false }
                guard let bytes = unsealed(value, with: key), bytes.first == kind.rawValue else {
                    throw LibraryError.damaged(path: path, reason: "part \(next) does not have its checksum")
                }
                var reader = ByteReader(UnsafeRawBufferPointer(rebasing: bytes[1...]))
                guard try body(next, &reader) else {
                    throw LibraryError.damaged(path: path, reason: "part \(next) is not what it should be")
                }
                next += 1
                return next < run.upperBound
            }
            guard next == run.upperBound else {
                throw LibraryError.damaged(path: path, reason: "part \(next) is missing")
            }
        }
    }

    private func record(_ reference: UInt64) -> UInt32? {
        if reference & PartReference.phraseBit != 0 {
            return phraseNumbers[reference & ~PartReference.phraseBit].map { vocabularyCount &+ $0 }
        }
        return UInt32(exactly: reference)
    }

    private func element(_ reference: UInt64) -> PatternElement? {
        if reference & PartReference.classBit != 0, reference & PartReference.phraseBit == 0 {
            return classNumbers[reference & ~PartReference.classBit].map { .pieceClass($0) }
        }
        return record(reference).map { .record($0) }
    }

    private func pieceClass(_ reader: inout ByteReader) -> PieceClass? {
        guard let name = reader.text(), let count = reader.next(UInt32.self), Int(count) * 8 == reader.remaining else {
            return nil
        }
        var members: [UInt32] = []
        while let reference = reader.next(UInt64.self) {
            guard let member = record(reference) else { return nil }
            members.append(member)
        }
        return PieceClass(name, members)
    }

    private func rule(_ reader: inout ByteReader) -> Rule? {
        guard let kind = reader.next(UInt8.self), kind <= 1, let edit = reader.next(UInt8.self).flatMap(Edit.init(rawValue:)),
            let count = reader.next(UInt8.self).map(Int.init), RuleLimits.elements.contains(count),
            let contextCount = reader.next(UInt16.self).map(Int.init)
        else { return nil }
        var elements: [PatternElement] = []
        elements.reserveCapacity(count)
        for _ in 0..<count {
            guard let element = reader.next(UInt64.self).flatMap({ element($0) }) else { return nil }
            elements.append(element)
        }
        guard let rest = reader.next(count: kind == 0 ? count - 1 : 1) else { return nil }
        let pattern: Pattern
        if kind == 0 {
            pattern = .sequence(elements, gaps: Array(rest))
        } else {
            guard case .pieceClass(let near) = elements[1] else { return nil }
            pattern = .trigger(elements[0], near: near, reach: rest[0])
        }
        guard let phrase = reader.next(UInt64.self).flatMap({ phraseNumbers[$0] }), reader.remaining == 12 + 4 * contextCount,
            let worth = reader.next(UInt32.self), let coefficient = reader.next(UInt32.self), let offset = reader.next(UInt32.self)
        else { return nil }
        var context: [Float] = []
        while let bits = reader.next(UInt32.self) { context.append(Float(bitPattern: bits)) }
        return Rule(
            pattern, edit, phrase: phrase, worth: Float(bitPattern: worth), coefficient: Float(bitPattern: coefficient),
            offset: Float(bitPattern: offset), context: context)
    }
}
