import Bytes
import Daemon
import Diagnostics
import Glibc

/// Exit codes, by the names and numbers of BSD's sysexits.
enum ExitStatus {
    static let usage: Int32 = 64
    static let badInput: Int32 = 65
    static let noInput: Int32 = 66
    static let unavailable: Int32 = 69
    static let internalError: Int32 = 70
    static let inputOutput: Int32 = 74
    static let tryAgain: Int32 = 75
    static let noPermission: Int32 = 77
    static let configuration: Int32 = 78
    /// The reader of our output went away: what a shell calls 128 + SIGPIPE.
    static let brokenPipe: Int32 = 141

    /// The code of an error of ours; nil for one of the argument parser's.
    static func code(of error: any Error) -> Int32? {
        if case FileError.system(_, _, EPIPE)? = error as? FileError { return brokenPipe }
        if let error = error as? ConfigurationError { return error.isUsage ? usage : configuration }
        guard let error = error as? any UserFacingError else { return nil }
        return code(of: error.category)
    }

    static func code(of category: ErrorCategory) -> Int32 {
        switch category {
        case .usage: usage
        case .invalidInput, .corrupt, .incompatible: badInput
        case .notFound: noInput
        case .unavailable: unavailable
        case .exhausted, .deadline, .cancelled: tryAgain
        case .permission: noPermission
        case .internal: internalError
        case .inputOutput: inputOutput
        }
    }

    /// What and where, and what to do about it.
    static func text(of error: any Error) -> String {
        guard let error = error as? any UserFacingError else { return "\(error)" }
        // Not its description: the public errors of the client have one of their own.
        return error.remedy.map { "\(error.summary); \($0)" } ?? error.summary
    }
}

/// What a command itself finds wrong.
enum CommandError: UserFacingError {
    /// A text that has no vector: where it stands and why.
    case text(place: String, reason: String)
    case usage(String)
    /// The daemon took another model between two requests of one run.
    case modelChanged
    /// A device failed between two blocks of one run.
    case scorerFailed(String)
    /// The corpus jobs of a daemon, which may need generations that are to go.
    case unreadJobs(FileError)

    var summary: String {
        switch self {
        case .text(let place, let reason): "\(place): \(reason)"
        case .usage(let message): message
        case .modelChanged: "the daemon's model changed while the texts were under way"
        case .scorerFailed(let reason): "the scorer failed while the texts were under way: \(reason)"
        case .unreadJobs(let error): error.summary
        }
    }

    var remedy: String? {
        switch self {
        case .text: "correct it, or leave such texts out with --skip-invalid"
        case .usage: "see --help"
        case .modelChanged: "run it again"
        case .scorerFailed: "run it again with --scorer int8"
        case .unreadJobs:
            """
            a job there may need a generation, so none goes: run it as root, or name the state directory of the library's \
            daemons with --state-dir, or say with --no-state-dir that they have no jobs
            """
        }
    }

    var category: ErrorCategory {
        switch self {
        case .text: .invalidInput
        case .usage: .usage
        case .modelChanged, .scorerFailed: .cancelled
        case .unreadJobs(let error): error.category
        }
    }
}
