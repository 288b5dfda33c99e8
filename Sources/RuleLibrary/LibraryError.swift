package import Diagnostics
package import KeyValueStore
package import Rules

/// Why a rule library cannot do what it was asked.
package enum LibraryError: UserFacingError, Equatable {
    case store(StoreError)
    /// The store is whole, and what stands in it is not.
    case damaged(path: String, reason: String)
    case newer(path: String, version: UInt32)
    case unknown(path: String, name: String)
    case ambiguous(path: String, name: String, count: Int)
    case nothingPromoted(path: String)
    case noPrevious(path: String)
    /// A generation that belongs to another model than the one given.
    case otherModel(generation: String, model: String, given: String)
    /// A generation that does not fit the model that it names.
    case unfit(generation: String, reason: String)
    /// A place in an exported text.
    case text(TextPosition, expected: String, found: String)
    /// An exported text that names another generation than the one in it.
    case altered(named: String)
    case rules(RuleError)

    package var summary: String {
        switch self {
        case .store(let error): error.summary
        case .damaged(let path, let reason): "the rule library \(path) is damaged: \(reason)"
        case .newer(let path, let version):
            "the rule library \(path) has format \(version), and this program knows format \(Library.format)"
        case .unknown(let path, let name): "\(path) has no generation \(name)"
        case .ambiguous(let path, let name, let count): "\(path) has \(count) generations that begin with \(name)"
        case .nothingPromoted(let path): "\(path) has no promoted generation"
        case .noPrevious(let path): "\(path) has no generation that was promoted before another"
        case .otherModel(let generation, let model, let given):
            "generation \(generation) belongs to model \(model), and \(given) was given"
        case .unfit(let generation, let reason): "generation \(generation) does not fit its model: \(reason)"
        case .text(let position, let expected, let found): "\(position): expected \(expected), found \(found)"
        case .altered(let named): "the text is to be generation \(named), and is another: something in it was changed or lost"
        case .rules(let error): error.summary
        }
    }

    package var remedy: String? {
        switch self {
        case .store(let error): error.remedy
        case .damaged: "see sae rules verify, and restore the library from a backup"
        case .newer: "use a newer sae"
        case .unknown: "see sae rules list"
        case .ambiguous: "give more of its digest"
        case .nothingPromoted: "promote one with sae rules promote"
        case .noPrevious: nil
        case .otherModel: "give its model with --model, or take a generation of this one"
        case .unfit: "import it again"
        case .text: "correct the file"
        case .altered: "export it again, or delete the line that begins with \"# generation\" if the change is meant"
        case .rules(let error): error.remedy
        }
    }

    package var category: ErrorCategory {
        switch self {
        case .store(let error): error.category
        case .damaged, .unfit: .corrupt
        case .newer, .otherModel: .incompatible
        case .unknown, .nothingPromoted, .noPrevious: .notFound
        case .ambiguous: .usage
        case .text, .altered: .invalidInput
        case .rules(let error): error.category
        }
    }
}
