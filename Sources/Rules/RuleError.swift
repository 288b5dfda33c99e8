package import Diagnostics

/// Why rules cannot be used.
package enum RuleError: UserFacingError, Equatable {
    /// A place in a text that is no rule.
    case syntax(TextPosition, expected: String, found: String)
    /// A rule or class of a text that breaks a condition.
    case faulty(TextPosition, RuleFault)
    /// A rule (counted from 0 in the order given) that breaks a condition.
    case rule(Int, RuleFault)
    /// A piece class that breaks a condition.
    case pieceClass(Int, RuleFault)
    case tooMany(RuleQuantity, count: Int, maximum: Int)
    /// Bytes that end before the rules do.
    case truncated(offset: Int)
    /// Bytes that say something impossible.
    case malformed(offset: Int)
    /// Bytes of a valid set that would be written differently.
    case notCanonical
    case unknownVersion(UInt32)
    /// Bytes that should be text and are not UTF-8.
    case notText
    /// What is wrong in a file of rules.
    indirect case file(path: String, RuleError)

    package var summary: String {
        switch self {
        case .syntax(let position, let expected, let found):
            "\(position): expected \(expected), found \(found)"
        case .faulty(let position, let fault): "\(position): \(fault.rawValue)"
        case .rule(let index, let fault): "rule \(index): \(fault.rawValue)"
        case .pieceClass(let index, let fault): "piece class \(index): \(fault.rawValue)"
        case .tooMany(let what, let count, let maximum):
            "\(count) \(what.rawValue), at most \(maximum) are allowed"
        case .truncated(let offset): "the rules end at byte \(offset), in the middle of something"
        case .malformed(let offset): "the rules are damaged before byte \(offset)"
        case .notCanonical: "the rules are not in canonical order"
        case .unknownVersion(let version):
            "the rules have format version \(version), this program reads version 1"
        case .notText: "the rules are not UTF-8 text"
        case .file(let path, let error): "\(path), \(error.summary)"
        }
    }

    package var remedy: String? {
        switch self {
        case .syntax, .faulty, .rule, .pieceClass, .tooMany: "correct the rules"
        case .truncated, .malformed, .notCanonical: "copy the file again, or write the rules again"
        case .unknownVersion: "use a newer sae"
        case .notText: "give a file of rules as `sae rules mine` writes it"
        case .file(_, let error): error.remedy
        }
    }

    package var category: ErrorCategory {
        switch self {
        case .syntax, .faulty, .rule, .pieceClass, .tooMany, .notText: .invalidInput
        case .truncated, .malformed, .notCanonical: .corrupt
        case .unknownVersion: .incompatible
        case .file(_, let error): error.category
        }
    }
}

package enum RuleFault: String, Error, Sendable {
    case elementCount = "a sequence has 2 to 5 elements"
    case gap = "there is one gap between elements, of 0 to 3 items"
    case reach = "a trigger reaches 1 to 8 items"
    case replacesGap = "only a pattern without gaps can replace its items"
    case unknownRecord = "there is no such record"
    case unknownPhrase = "there is no such phrase"
    case unknownClass = "there is no such piece class"
    case context = "the context vector has another length than the rule set's"
    case notFinite = "a number is not finite"
    case repeated = "it is there twice"
    case name = "a name has 1 to 64 letters a-z, digits, - or _"
    case emptyClass = "it has no members"
}

package enum RuleQuantity: String, Sendable {
    case rules, classes = "piece classes", records, postings = "entries of the index"
    case contextDimensions = "context dimensions"
}
