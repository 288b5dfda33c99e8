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
        for rule in rules { Self.append(rule, to: &writer) }
        return writer.bytes
    }

    private static func append(_ rule: Rule, to writer: inout ByteWriter) {
        let elements = rule.pattern.elements
        let isSequence = if case .sequence = rule.pattern { true } else { false }
        writer.append(UInt8(isSequence ? 0 : 1))
        writer.append(rule.edit.rawValue)
        writer.append(UInt8(elements.count))
        writer.append(UInt8(rule.context.isEmpty ? 0 : 1))
        for element in elements { writer.append(element.code) }
        switch rule.pattern {
        case .sequence(_, let gaps): writer.append(contentsOf: gaps)
        case .trigger(_, near: _, let reach): writer.append(reach)
        }
        writer.append(rule.phrase)
        for number in [rule.worth, rule.coefficient, rule.offset] + rule.context { writer.append(number) }
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
    var reader: ByteReader

    init(_ reader: ByteReader) { self.reader = reader }

    mutating func next<T: FixedWidthInteger>(_: T.Type = T.self) throws(RuleError) -> T {
        guard let value = reader.next(T.self) else {
            throw .truncated(offset: reader.offset + reader.remaining)
        }
        return value
    }

    mutating func float() throws(RuleError) -> Float { Float(bitPattern: try next()) }

    mutating func count() throws(RuleError) -> Int { Int(try next(UInt32.self)) }

    /// `count` values of `size` bytes or more each: refused before anything is reserved when they cannot be there.
    func expect(_ count: Int, of size: Int) throws(RuleError) {
        guard count <= reader.remaining / size else {
            throw .truncated(offset: reader.offset + reader.remaining)
        }
    }

    mutating func ruleSet(version: UInt32) throws(RuleError) -> RuleSet {
        let found: UInt32 = try next()
        guard found == version else { throw .unknownVersion(found) }
        let (vocabularyCount, phraseCount, dimensions) = (try count(), try count(), try count())
        let (classCount, ruleCount) = (try count(), try count())
        guard dimensions <= RuleLimits.maximumContextDimensions else {
            throw .tooMany(
                .contextDimensions, count: dimensions, maximum: RuleLimits.maximumContextDimensions)
        }
        var classes: [PieceClass] = []
        for _ in 0..<classCount { classes.append(try pieceClass()) }
        var rules: [Rule] = []
        for _ in 0..<ruleCount { rules.append(try rule(contextDimensions: dimensions)) }
        guard reader.remaining == 0 else { throw .malformed(offset: reader.offset) }
        return try RuleSet(
            vocabularyCount: vocabularyCount, phraseCount: phraseCount, contextDimensions: dimensions,
            classes: classes, rules: rules)
    }

    mutating func pieceClass() throws(RuleError) -> PieceClass {
        let length = try count()
        try expect(length, of: 1)
        guard let name = reader.next(count: length) else { throw .truncated(offset: reader.offset) }
        let memberCount = try count()
        try expect(memberCount, of: 4)
        var members: [UInt32] = []
        for _ in 0..<memberCount { members.append(try next()) }
        return PieceClass(String(decoding: name, as: UTF8.self), members)
    }

    mutating func rule(contextDimensions: Int) throws(RuleError) -> Rule {
        let (kind, editCode): (UInt8, UInt8) = (try next(), try next())
        let (elementCount, contextFlag): (UInt8, UInt8) = (try next(), try next())
        guard kind <= 1, contextFlag <= 1, let edit = Edit(rawValue: editCode),
            RuleLimits.elements.contains(Int(elementCount)), kind == 0 || elementCount == 2
        else { throw .malformed(offset: reader.offset) }
        var elements: [PatternElement] = []
        for _ in 0..<elementCount { elements.append(PatternElement(code: try next())) }
        var pattern: Pattern
        if kind == 0 {
            var gaps: [UInt8] = []
            for _ in 1..<elementCount { gaps.append(try next()) }
            pattern = .sequence(elements, gaps: gaps)
        } else {
            guard case .pieceClass(let near) = elements[1] else { throw .malformed(offset: reader.offset) }
            pattern = .trigger(elements[0], near: near, reach: try next())
        }
        let phrase: UInt32 = try next()
        var rule = Rule(
            pattern, edit, phrase: phrase, worth: try float(), coefficient: try float(), offset: try float())
        if contextFlag == 1 {
            guard contextDimensions > 0 else { throw .malformed(offset: reader.offset) }
            for _ in 0..<contextDimensions { rule.context.append(try float()) }
        }
        return rule
    }
}
