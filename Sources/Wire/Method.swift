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
    case createJob = 20
    case putJobInput = 21
    case startJob = 22
    case getJob = 23
    case listJobs = 24
    case watchJob = 25
    case getJobOutput = 26
    case cancelJob = 27
    case deleteJob = 28
    case reload = 30
    case drain = 31

    /// How many messages each side sends.
    package enum Shape: Sendable {
        /// One each way.
        case unary
        /// One request, any number of messages, then END.
        case serverStream
        /// Any number of messages of the client; the server answers by one and END.
        case clientStream
        /// Any number of messages each way; the server ends with END.
        case bidirectional
    }

    package var shape: Shape {
        switch self {
        case .embedStream: .bidirectional
        case .putJobInput: .clientStream
        case .healthWatch, .watchJob, .getJobOutput: .serverStream
        default: .unary
        }
    }

    /// The client sends messages behind its REQUEST.
    package var takesMessages: Bool { shape == .clientStream || shape == .bidirectional }

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
        case .createJob: "CreateJob"
        case .putJobInput: "PutJobInput"
        case .startJob: "StartJob"
        case .getJob: "GetJob"
        case .listJobs: "ListJobs"
        case .watchJob: "WatchJob"
        case .getJobOutput: "GetJobOutput"
        case .cancelJob: "CancelJob"
        case .deleteJob: "DeleteJob"
        case .reload: "Reload"
        case .drain: "Drain"
        }
    }
}
