/// The methods of the protocol, by their number in a REQUEST header. All are unary.
package enum Method: UInt16, Sendable, CaseIterable {
    case embed = 1
    case similarity = 3
    case tokenize = 4
    case info = 6
    case healthCheck = 10

    /// The name in logs, metrics and the specification.
    package var name: String {
        switch self {
        case .embed: "Embed"
        case .similarity: "Similarity"
        case .tokenize: "Tokenize"
        case .info: "Info"
        case .healthCheck: "Health.Check"
        }
    }

    /// True for the methods that do work on the pool and so pass admission.
    package var isQueued: Bool { self == .embed || self == .similarity || self == .tokenize }
}
