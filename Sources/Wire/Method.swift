/// The methods of the protocol, by their number in a REQUEST header.
package enum Method: UInt16, Sendable, CaseIterable {
    case embed = 1
    case embedStream = 2
    case similarity = 3
    case tokenize = 4
    case trace = 5
    case info = 6
    case healthCheck = 10
    case healthWatch = 11
    case reload = 30
    case drain = 31

    /// How many messages each side sends.
    package enum Shape: Sendable {
        /// One each way.
        case unary
        /// One request, any number of messages, then END.
        case serverStream
        /// Any number of messages each way; the server ends with END.
        case bidirectional
    }

    package var shape: Shape {
        switch self {
        case .embedStream: .bidirectional
        case .healthWatch: .serverStream
        default: .unary
        }
    }

    /// The name in logs, metrics and the specification.
    package var name: String {
        switch self {
        case .embed: "Embed"
        case .embedStream: "EmbedStream"
        case .similarity: "Similarity"
        case .tokenize: "Tokenize"
        case .trace: "Trace"
        case .info: "Info"
        case .healthCheck: "Health.Check"
        case .healthWatch: "Health.Watch"
        case .reload: "Reload"
        case .drain: "Drain"
        }
    }

    /// True for the unary methods that do work on the pool and so pass admission.
    package var isQueued: Bool {
        switch self {
        case .embed, .similarity, .tokenize, .trace: true
        case .embedStream, .info, .healthCheck, .healthWatch, .reload, .drain: false
        }
    }
}
