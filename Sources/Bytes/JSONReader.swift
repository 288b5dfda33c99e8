/// Why bytes are not the JSON that was wanted.
package struct JSONError: Error, Equatable, CustomStringConvertible {
    package let offset: Int
    package let reason: String

    package var description: String { "byte \(offset): \(reason)" }
}

/// Reads JSON (RFC 8259) strictly, value by value, without building a tree: valid UTF-8, no lone surrogates, nesting of
/// at most `maximumDepth`, nothing behind the value. Takes time in proportion to the bytes and allocates only what it
/// hands out.
///
/// ```swift
/// var reader = try JSONReader(body)
/// try reader.enterObject()
/// while let key = try reader.nextMember() {
///     if key == "input" { try reader.string(into: &bytes) } else { try reader.skip() }
/// }
/// try reader.finish()
/// ```
package struct JSONReader: Sendable {
    package enum Kind: Sendable { case object, array, string, number, truth, null }

    package static let maximumDepth = 16

    private let bytes: [UInt8]
    private var at = 0
    private var depth = 0
    /// One bit for each open object and array: whether it has had a member.
    private var hasMember: UInt32 = 0

    /// - Throws: `JSONError` when `bytes` are not UTF-8.
    package init(_ bytes: [UInt8]) throws(JSONError) {
        do {
            _ = try UTF8Span(validating: bytes.span)
        } catch {
            throw JSONError(offset: error.byteOffsets.lowerBound, reason: "not UTF-8")
        }
        self.bytes = bytes
    }

    /// What the next value is; it is not read yet.
    package mutating func kind() throws(JSONError) -> Kind {
        skipSpace()
        switch peek() {
        case UInt8(ascii: "{"): return .object
        case UInt8(ascii: "["): return .array
        case UInt8(ascii: "\""): return .string
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number
        case UInt8(ascii: "t"), UInt8(ascii: "f"): return .truth
        case UInt8(ascii: "n"): return .null
        default: throw failure(at < bytes.count ? "no value begins here" : "ends where a value should be")
        }
    }

    package mutating func enterObject() throws(JSONError) { try enter(UInt8(ascii: "{"), "not an object") }
    package mutating func enterArray() throws(JSONError) { try enter(UInt8(ascii: "["), "not an array") }

    /// The key of the next member of the innermost object, its value being next; nil at the object's end, which is read.
    package mutating func nextMember() throws(JSONError) -> String? {
        guard try goesOn(until: UInt8(ascii: "}")) else { return nil }
        var key: [UInt8] = []
        try string(into: &key)
        try expect(UInt8(ascii: ":"), "no colon behind a key")
        return String(decoding: key, as: UTF8.self)
    }

    /// True when the innermost array has another element, which is next; false at the array's end, which is read.
    package mutating func nextElement() throws(JSONError) -> Bool { try goesOn(until: UInt8(ascii: "]")) }

    package mutating func string() throws(JSONError) -> String {
        var value: [UInt8] = []
        try string(into: &value)
        return String(decoding: value, as: UTF8.self)
    }

    /// Appends the UTF-8 of a string.
    package mutating func string(into target: inout [UInt8]) throws(JSONError) {
        try expect(UInt8(ascii: "\""), "not a string")
        var start = at
        while at < bytes.count {
            let byte = bytes[at]
            if byte == UInt8(ascii: "\"") {
                target.append(contentsOf: bytes[start..<at])
                at += 1
                return
            }
            guard byte >= 0x20 else { throw failure("a control character inside a string") }
            at += 1
            guard byte == UInt8(ascii: "\\") else { continue }
            target.append(contentsOf: bytes[start..<at - 1])
            try escape(into: &target)
            start = at
        }
        throw failure("ends inside a string")
    }

    /// A number; nil when it is not whole or does not fit.
    package mutating func integer() throws(JSONError) -> Int? {
        let range = try number()
        return Int(String(decoding: bytes[range], as: UTF8.self))
    }

    package mutating func truth() throws(JSONError) -> Bool {
        skipSpace()
        let value = peek() == UInt8(ascii: "t")
        try word(value ? "true" : "false")
        return value
    }

    package mutating func null() throws(JSONError) {
        skipSpace()
        try word("null")
    }

    /// Reads any value and forgets it.
    package mutating func skip() throws(JSONError) {
        switch try kind() {
        case .object:
            try enterObject()
            while try nextMember() != nil { try skip() }
        case .array:
            try enterArray()
            while try nextElement() { try skip() }
        case .string:
            var ignored: [UInt8] = []
            try string(into: &ignored)
        case .number: _ = try number()
        case .truth: _ = try truth()
        case .null: try null()
        }
    }

    /// Nothing but space is left.
    package mutating func finish() throws(JSONError) {
        skipSpace()
        guard at == bytes.count else { throw failure("something stands behind the value") }
    }

    package func failure(_ reason: String) -> JSONError { JSONError(offset: at, reason: reason) }
}

extension JSONReader {
    private func peek() -> UInt8 { at < bytes.count ? bytes[at] : 0 }

    private mutating func skipSpace() {
        while at < bytes.count {
            switch bytes[at] {
            case 0x20, 0x0a, 0x0d, 0x09: at += 1
            default: return
            }
        }
    }

    private mutating func expect(_ byte: UInt8, _ reason: String) throws(JSONError) {
        skipSpace()
        guard peek() == byte, at < bytes.count else { throw failure(reason) }
        at += 1
    }

    private mutating func enter(_ byte: UInt8, _ reason: String) throws(JSONError) {
        try expect(byte, reason)
        guard depth < Self.maximumDepth else { throw failure("nested deeper than \(Self.maximumDepth)") }
        depth += 1
        hasMember &= ~(1 << UInt32(depth))
    }

    private mutating func goesOn(until end: UInt8) throws(JSONError) -> Bool {
        skipSpace()
        let isFirst = hasMember & 1 << UInt32(depth) == 0
        if peek() == end {
            at += 1
            depth -= 1
            return false
        }
        if !isFirst { try expect(UInt8(ascii: ","), "no comma between members") }
        hasMember |= 1 << UInt32(depth)
        skipSpace()
        return true
    }

    private mutating func word(_ text: StaticString) throws(JSONError) {
        let end = at + text.utf8CodeUnitCount
        guard end <= bytes.count, bytes[at..<end].elementsEqual(text.description.utf8) else { throw failure("not \(text)") }
        at = end
    }

    private mutating func number() throws(JSONError) -> Range<Int> {
        skipSpace()
        let start = at
        if peek() == UInt8(ascii: "-") { at += 1 }
        let isZero = peek() == UInt8(ascii: "0")
        let whole = digits()
        guard whole > 0, !isZero || whole == 1 else { throw failure("not a number") }
        if peek() == UInt8(ascii: ".") {
            at += 1
            guard digits() > 0 else { throw failure("not a number") }
        }
        if peek() | 0x20 == UInt8(ascii: "e") {
            at += 1
            if peek() == UInt8(ascii: "+") || peek() == UInt8(ascii: "-") { at += 1 }
            guard digits() > 0 else { throw failure("not a number") }
        }
        return start..<at
    }

    private mutating func digits() -> Int {
        let start = at
        while at < bytes.count, UInt8(ascii: "0")...UInt8(ascii: "9") ~= bytes[at] { at += 1 }
        return at - start
    }

    /// What stands behind a backslash.
    private mutating func escape(into target: inout [UInt8]) throws(JSONError) {
        let letter = peek()
        at += 1
        switch letter {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): target.append(letter)
        case UInt8(ascii: "b"): target.append(0x08)
        case UInt8(ascii: "f"): target.append(0x0c)
        case UInt8(ascii: "n"): target.append(0x0a)
        case UInt8(ascii: "r"): target.append(0x0d)
        case UInt8(ascii: "t"): target.append(0x09)
        case UInt8(ascii: "u"):
            var value = try unit()
            if 0xd800..<0xdc00 ~= value, peek() == UInt8(ascii: "\\"), at + 1 < bytes.count, bytes[at + 1] == UInt8(ascii: "u") {
                at += 2
                let low = try unit()
                guard 0xdc00..<0xe000 ~= low else { throw failure("a lone surrogate") }
                value = 0x10000 + (value - 0xd800) << 10 + (low - 0xdc00)
            }
            guard let scalar = Unicode.Scalar(value) else { throw failure("a lone surrogate") }
            target.append(contentsOf: Character(scalar).utf8)
        default: throw failure("an unknown escape")
        }
    }

    /// Four hexadecimal digits.
    private mutating func unit() throws(JSONError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            switch peek() {
            case let digit where UInt8(ascii: "0")...UInt8(ascii: "9") ~= digit: value = value << 4 | UInt32(digit - 0x30)
            case let digit where UInt8(ascii: "a")...UInt8(ascii: "f") ~= digit | 0x20:
                value = value << 4 | UInt32((digit | 0x20) - UInt8(ascii: "a") + 10)
            default: throw failure("not four hexadecimal digits")
            }
            at += 1
        }
        return value
    }
}
