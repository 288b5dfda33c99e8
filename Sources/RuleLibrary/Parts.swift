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
        for rule in rules.rules.indices {
            var contents = ByteWriter()
            let row = rules.rules.row(rule)
            contents.append(row, phrase: phraseIDs[Int(row.phrase)]) { element in
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
    fileprivate mutating func append(_ rule: RuleRow, phrase: UInt64, _ reference: (PatternElement) -> UInt64) {
        append(rule.kind.rawValue)
        append(rule.edit.rawValue)
        append(UInt8(rule.elementCount))
        append(UInt16(rule.context.count))
        for place in 0..<rule.elementCount { append(reference(PatternElement(code: rule.codes[place]))) }
        for place in 0..<rule.gapCount { append(rule.gaps[place]) }
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
    private let entry: GenerationEntry
    private let digest: Digest
    private let phraseNumbers: PartNumbers
    private var classNumbers: [UInt64: UInt32] = [:]

    init(_ entry: GenerationEntry, digest: Digest, parts: Table, path: String) throws(LibraryError) {
        self.parts = parts
        self.path = path
        self.entry = entry
        self.digest = digest
        guard let phraseNumbers = PartNumbers(entry.phrases) else {
            throw .damaged(path: path, reason: "generation \(digest.short) holds a phrase twice")
        }
        self.phraseNumbers = phraseNumbers
    }

    mutating func generation(_ view: borrowing ReadTransaction) throws -> Generation {
        var records: [UInt8] = []
        records.reserveCapacity(min(entry.phrases.count, RuleLimits.maximumRecords) * entry.recordBytes)
        try forEach(entry.phrases, .phrase, view) { _, reader in
            guard reader.next(UInt32.self) != nil, let record = reader.next(count: entry.recordBytes), reader.remaining == 0
            else { return false }
            records.append(contentsOf: record)
            return true
        }
        let classes = try classes(view)
        let rules: RuleSet
        do {
            var builder = try RuleSetBuilder(
                vocabularyCount: entry.vocabularyCount, phraseCount: entry.phrases.count,
                contextDimensions: entry.contextDimensions, classes: classes, ruleCount: entry.rules.count)
            builder.reserve(entry.rules.count)
            try forEachRule(view) { _, rule in try builder.append(rule) }
            rules = try builder.finish()
        } catch let error as RuleError {
            throw LibraryError.damaged(path: path, reason: "generation \(digest.short): \(error.summary)")
        }
        return Generation(model: entry.model, origin: entry.origin, rules: rules, records: records, digest: digest)
    }

    /// The rules by their ids, ascending.
    mutating func rules(_ view: borrowing ReadTransaction) throws -> [(id: UInt64, rule: Rule)] {
        _ = try classes(view)
        var rules: [(id: UInt64, rule: Rule)] = []
        try forEachRule(view) { id, rule in rules.append((id, Rule(rule))) }
        return rules
    }

    /// The classes as a rule set numbers them, which the rules are read by.
    private mutating func classes(_ view: borrowing ReadTransaction) throws -> [PieceClass] {
        var classes: [(id: UInt64, contents: PieceClass)] = []
        try forEach(entry.classes, .pieceClass, view) { id, reader in
            guard let pieceClass = pieceClass(&reader) else { return false }
            classes.append((id, pieceClass))
            return true
        }
        classes.sort { $0.contents.name < $1.contents.name }
        for (number, pieceClass) in classes.enumerated() { classNumbers[pieceClass.id] = UInt32(number) }
        return classes.map(\.contents)
    }

    private func forEachRule(_ view: borrowing ReadTransaction, _ body: (UInt64, RuleRow) throws -> Void) throws {
        try forEach(entry.rules, .rule, view) { id, reader in
            guard let rule = rule(&reader) else { return false }
            try body(id, rule)
            return true
        }
    }

    /// Calls `body` with each part in order; false from it means that the part is not what it should be.
    private func forEach(
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

    /// The id of a record, or nil for what stands for none.
    private func record(_ reference: UInt64) -> UInt32? {
        if reference & PartReference.phraseBit != 0 {
            return phraseNumbers[reference & ~PartReference.phraseBit].map { UInt32(clamping: entry.vocabularyCount) &+ $0 }
        }
        return UInt32(exactly: reference)
    }

    private func code(_ reference: UInt64) -> UInt32? {
        if reference & PartReference.classBit != 0, reference & PartReference.phraseBit == 0 {
            return classNumbers[reference & ~PartReference.classBit].map { PatternElement.classBit | $0 }
        }
        return record(reference).flatMap { $0 < PatternElement.classBit ? $0 : nil }
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

    private func rule(_ reader: inout ByteReader) -> RuleRow? {
        guard let kind = reader.next(UInt8.self).flatMap(RuleRow.Kind.init(rawValue:)),
            let edit = reader.next(UInt8.self).flatMap(Edit.init(rawValue:)),
            let count = reader.next(UInt8.self).map(Int.init), RuleLimits.elements.contains(count),
            kind == .sequence || count == 2, let contextCount = reader.next(UInt16.self).map(Int.init)
        else { return nil }
        var rule = RuleRow(kind, edit, elementCount: count)
        for place in 0..<count {
            guard let code = reader.next(UInt64.self).flatMap({ code($0) }) else { return nil }
            rule.codes[place] = code
        }
        guard kind == .sequence || rule.codes[1] & PatternElement.classBit != 0 else { return nil }
        for place in 0..<rule.gapCount {
            guard let gap = reader.next(UInt8.self) else { return nil }
            rule.gaps[place] = gap
        }
        guard let phrase = reader.next(UInt64.self).flatMap({ phraseNumbers[$0] }), reader.remaining == 12 + 4 * contextCount,
            let worth = reader.next(UInt32.self), let coefficient = reader.next(UInt32.self), let offset = reader.next(UInt32.self)
        else { return nil }
        rule.phrase = phrase
        (rule.worth, rule.coefficient) = (Float(bitPattern: worth), Float(bitPattern: coefficient))
        rule.offset = Float(bitPattern: offset)
        while let bits = reader.next(UInt32.self) { rule.context.append(Float(bitPattern: bits)) }
        return rule
    }
}

/// The number of each part of some runs, in their order.
private struct PartNumbers {
    /// Ascending.
    private let runs: [(ids: Range<UInt64>, number: UInt64)]

    /// Nil when a part is there twice.
    init?(_ parts: PartRuns) {
        var runs: [(ids: Range<UInt64>, number: UInt64)] = []
        var number: UInt64 = 0
        for run in parts.runs {
            runs.append((run, number))
            let (sum, overflow) = number.addingReportingOverflow(UInt64(run.count))
            guard !overflow else { return nil }
            number = sum
        }
        runs.sort { $0.ids.lowerBound < $1.ids.lowerBound }
        guard zip(runs, runs.dropFirst()).allSatisfy({ $0.ids.upperBound <= $1.ids.lowerBound }) else { return nil }
        self.runs = runs
    }

    subscript(id: UInt64) -> UInt32? {
        var (low, high) = (0, runs.count)
        while low < high {
            let middle = (low + high) / 2
            if runs[middle].ids.upperBound <= id { low = middle + 1 } else { high = middle }
        }
        guard low < runs.count, runs[low].ids.contains(id) else { return nil }
        return UInt32(exactly: runs[low].number + (id - runs[low].ids.lowerBound))
    }
}
