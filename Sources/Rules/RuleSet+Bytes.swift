import Bytes

/// The canonical bytes of a rule set; equal sets have equal bytes. Everything is little-endian:
/// ```
/// header  u32 version = 1, vocabularyCount, phraseCount, contextDimensions, classCount, ruleCount
/// class   u32 length of name, name (ASCII), u32 memberCount, u32 members, ascending
/// rule    u8 kind (0 sequence, 1 trigger), u8 edit (0 replace, 1 add), u8 n, u8 has context
///         sequence: n × u32 element, (n − 1) × u8 gap      an element's top bit says that it is a class
///         trigger:  2 × u32 element, u8 reach              n = 2
///         u32 phrase, f32 worth, coefficient, offset, then contextDimensions × f32 if it has a context
/// ```
/// Classes ascend by name, rules by kind, elements, gaps or reach, edit and phrase; no zero is negative.
extension RuleSet {
    private static let version: UInt32 = 1

    package var canonicalBytes: [UInt8] {
        var writer = ByteWriter()
        for count in [
            Int(Self.version), vocabularyCount, phraseCount, contextDimensions, classes.count, rules.count,
        ] {
            writer.append(UInt32(count))
        }
        for pieceClass in classes {
            writer.append(UInt32(pieceClass.name.utf8.count))
            writer.append(contentsOf: pieceClass.name.utf8)
            writer.append(UInt32(pieceClass.members.count))
            for member in pieceClass.members { writer.append(member) }
        }
        for rule in rules.indices { Self.append(rules.row(rule), to: &writer) }
        return writer.bytes
    }

    /// How many `canonicalBytes` there are.
    package var canonicalByteCount: Int {
        let head = classes.reduce(24) { $0 + 8 + $1.name.utf8.count + 4 * $1.members.count }
        return rules.shapes.reduce(head + 4 * contextDimensions * rules.contextCount) { sum, shape in
            sum + 20 + 4 * shape.count + (shape.triggerReach > 0 ? 1 : shape.count - 1)
        }
    }

    private static func append(_ rule: RuleRow, to writer: inout ByteWriter) {
        writer.append(rule.kind.rawValue)
        writer.append(rule.edit.rawValue)
        writer.append(UInt8(rule.elementCount))
        writer.append(UInt8(rule.context.isEmpty ? 0 : 1))
        for place in 0..<rule.elementCount { writer.append(rule.codes[place]) }
        for place in 0..<rule.gapCount { writer.append(rule.gaps[place]) }
        writer.append(rule.phrase)
        writer.append(rule.worth)
        writer.append(rule.coefficient)
        writer.append(rule.offset)
        for number in rule.context { writer.append(number) }
    }

    /// Reads what `canonicalBytes` wrote. Memory grows with the bytes that are there, not with what they announce.
    /// - Throws: `truncated`, `malformed`, `unknownVersion`, `notCanonical`, or what `init` throws.
    package init(canonicalBytes bytes: [UInt8]) throws(RuleError) {
        let contents: Result<RuleSet, RuleError> = bytes.withUnsafeBytes { bytes in
            var reader = RuleReader(ByteReader(bytes))
            do throws(RuleError) { return .success(try reader.ruleSet(version: Self.version)) } catch {
                return .failure(error)
            }
        }
        self = try contents.get()
        guard canonicalBytes == bytes else { throw .notCanonical }
    }
}

private struct RuleReader {
    /// A trigger without a context, or two elements.
    private static let leastRuleBytes = 29

    var reader: ByteReader

    init(_ reader: ByteReader) { self.reader = reader }

    /// - Throws: `truncated` for nil, which is what the reader gives at the end of the bytes.
    private func there<T>(_ value: T?) throws(RuleError) -> T {
        guard let value else { throw .truncated(offset: reader.offset + reader.remaining) }
        return value
    }

    mutating func byte() throws(RuleError) -> UInt8 { try there(reader.next()) }

    mutating func number() throws(RuleError) -> UInt32 { try there(reader.next()) }

    mutating func float() throws(RuleError) -> Float { Float(bitPattern: try number()) }

    mutating func count() throws(RuleError) -> Int { Int(try number()) }

    /// `count` values of `size` bytes or more each: refused before anything is reserved when they cannot be there.
    func expect(_ count: Int, of size: Int) throws(RuleError) {
        guard count <= reader.remaining / size else {
            throw .truncated(offset: reader.offset + reader.remaining)
        }
    }

    mutating func ruleSet(version: UInt32) throws(RuleError) -> RuleSet {
        let found = try number()
        guard found == version else { throw .unknownVersion(found) }
        let (vocabularyCount, phraseCount, dimensions) = (try count(), try count(), try count())
        let (classCount, ruleCount) = (try count(), try count())
        guard dimensions <= RuleLimits.maximumContextDimensions else {
            throw .tooMany(
                .contextDimensions, count: dimensions, maximum: RuleLimits.maximumContextDimensions)
        }
        var classes: [PieceClass] = []
        for _ in 0..<classCount { classes.append(try pieceClass()) }
        var builder = try RuleSetBuilder(
            vocabularyCount: vocabularyCount, phraseCount: phraseCount, contextDimensions: dimensions, classes: classes,
            ruleCount: ruleCount)
        builder.reserve(min(ruleCount, reader.remaining / Self.leastRuleBytes))
        for _ in 0..<ruleCount { try builder.append(try rule(contextDimensions: dimensions)) }
        guard reader.remaining == 0 else { throw .malformed(offset: reader.offset) }
        return try builder.finish()
    }

    mutating func pieceClass() throws(RuleError) -> PieceClass {
        let length = try count()
        try expect(length, of: 1)
        guard let name = reader.next(count: length) else { throw .truncated(offset: reader.offset) }
        let memberCount = try count()
        try expect(memberCount, of: 4)
        var members: [UInt32] = []
        for _ in 0..<memberCount { members.append(try number()) }
        return PieceClass(String(decoding: name, as: UTF8.self), members)
    }

    mutating func rule(contextDimensions: Int) throws(RuleError) -> RuleRow {
        let (kindCode, editCode) = (try byte(), try byte())
        let (elementCount, contextFlag) = (try byte(), try byte())
        guard let kind = RuleRow.Kind(rawValue: kindCode), contextFlag <= 1, let edit = Edit(rawValue: editCode),
            RuleLimits.elements.contains(Int(elementCount)), kind == .sequence || elementCount == 2
        else { throw .malformed(offset: reader.offset) }
        var rule = RuleRow(kind, edit, elementCount: Int(elementCount))
        for place in 0..<rule.elementCount { rule.codes[place] = try number() }
        guard kind == .sequence || rule.codes[1].isClass else { throw .malformed(offset: reader.offset) }
        for place in 0..<rule.gapCount { rule.gaps[place] = try byte() }
        rule.phrase = try number()
        (rule.worth, rule.coefficient, rule.offset) = (try float(), try float(), try float())
        if contextFlag == 1 {
            guard contextDimensions > 0 else { throw .malformed(offset: reader.offset) }
            for _ in 0..<contextDimensions { rule.context.append(try float()) }
        }
        return rule
    }
}
