/// JSON (RFC 8259) as text, key by key, in the order in which it is written. Floats are the shortest decimals that
/// read back the same; one that is not finite becomes null. Elements of an array have no key.
package struct JSONWriter {
    package private(set) var text = ""
    /// Whether the innermost object or array has a member.
    private var hasMember = false

    package init() {}

    /// An object; with `key`, as a member of the one around it.
    package mutating func object(_ key: String? = nil, _ members: (inout JSONWriter) -> Void) {
        enclose(key, "{", "}", members)
    }

    package mutating func array<Element>(
        _ key: String? = nil, _ elements: some Sequence<Element>, _ element: (inout JSONWriter, Element) -> Void
    ) {
        enclose(key, "[", "]") { writer in for each in elements { element(&writer, each) } }
    }

    package mutating func value(_ key: String?, _ string: String) {
        begin(key)
        quote(string)
    }

    package mutating func value(_ key: String?, _ number: some BinaryInteger) {
        begin(key)
        text += String(number)
    }

    package mutating func value(_ key: String?, _ number: some FloatingPoint & LosslessStringConvertible) {
        begin(key)
        text += number.isFinite ? number.description : "null"
    }

    package mutating func value(_ key: String?, _ truth: Bool) {
        begin(key)
        text += truth ? "true" : "false"
    }

    package mutating func null(_ key: String?) {
        begin(key)
        text += "null"
    }

    private mutating func enclose(_ key: String?, _ open: String, _ close: String, _ body: (inout JSONWriter) -> Void) {
        begin(key)
        text += open
        hasMember = false
        body(&self)
        text += close
        hasMember = true
    }

    private mutating func begin(_ key: String?) {
        if hasMember { text += "," }
        hasMember = true
        guard let key else { return }
        quote(key)
        text += ":"
    }

    private mutating func quote(_ string: String) { text += Self.quoted(string) }

    /// A string of JSON, with its quotes.
    package static func quoted(_ string: String) -> String {
        var text = "\""
        for scalar in string.unicodeScalars {
            switch scalar {
            case "\"", "\\": text += "\\\(scalar)"
            // Also what HTML would end a script with, and what JavaScript takes for a line's end.
            case "\u{0}"..<" ", "\u{7f}", "<", ">", "&", "\u{2028}", "\u{2029}":
                let digits = String(scalar.value, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: text.unicodeScalars.append(scalar)
            }
        }
        return text + "\""
    }
}
