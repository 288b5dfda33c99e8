package import Diagnostics
import Encryption
import Glibc
package import Transport
import Wire

/// Why a call failed. `code` is open: later versions may add others.
public struct ClientError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The kind of failure, by the names of the protocol.
    public struct Code: Sendable, Hashable, CustomStringConvertible {
        /// `INVALID_ARGUMENT`, `DEADLINE_EXCEEDED`, `RESOURCE_EXHAUSTED`, …
        public let name: String

        init(_ code: StatusCode) { name = code.name }

        public var description: String { name }

        public static let cancelled = Code(.cancelled)
        public static let invalidArgument = Code(.invalidArgument)
        public static let deadlineExceeded = Code(.deadlineExceeded)
        public static let notFound = Code(.notFound)
        public static let alreadyExists = Code(.alreadyExists)
        public static let permissionDenied = Code(.permissionDenied)
        public static let resourceExhausted = Code(.resourceExhausted)
        public static let failedPrecondition = Code(.failedPrecondition)
        public static let aborted = Code(.aborted)
        public static let outOfRange = Code(.outOfRange)
        public static let dataLoss = Code(.dataLoss)
        public static let unimplemented = Code(.unimplemented)
        public static let `internal` = Code(.internal)
        public static let unavailable = Code(.unavailable)
        public static let unauthenticated = Code(.unauthenticated)
    }

    public var code: Code
    public var message: String
    /// The configuration key of the limit that was met, or empty.
    public var limit: String
    public var limitValue: UInt64
    /// How long to wait before trying again, if the server said so.
    public var retryAfter: Duration?
    /// True when nothing was begun, so that the call is safe to repeat.
    public var isRefused: Bool
    /// True when an attempt before this one was lost with its connection, so that it may have been done.
    public var followsLoss = false
    /// The server could not be reached for as long as `ClientOptions.reconnectTimeout` says.
    var isOutage = false
    /// This side does not trust the server.
    var isOfCertificate = false

    init(
        _ code: Code, _ message: String, limit: String = "", limitValue: UInt64 = 0, retryAfter: Duration? = nil,
        isRefused: Bool = false
    ) {
        self.code = code
        self.message = message
        self.limit = limit
        self.limitValue = limitValue
        self.retryAfter = retryAfter
        self.isRefused = isRefused
    }

    init(_ failure: Failure) {
        let milliseconds = failure.retryAfterMilliseconds
        self.init(
            Code(failure.code), failure.message, limit: failure.limit, limitValue: failure.limitValue,
            retryAfter: milliseconds == 0 ? nil : .milliseconds(Int(milliseconds)), isRefused: failure.isRefused)
    }

    /// A socket that this user may not open stays so, whatever is tried again.
    package init(_ error: TransportError) {
        guard case .system(_, _, EACCES) = error else {
            self.init(.unavailable, error.summary, isRefused: true)
            return
        }
        self.init(.permissionDenied, "\(error.summary): this user needs the right to write to the socket and to enter its folder")
    }

    /// A certificate that is not taken stays so, whatever is tried again.
    init(_ error: EncryptionError) {
        let code: Code =
            switch error {
            case .untrusted, .refused: .unauthenticated
            case .broken: .unavailable
            case .unusable, .mismatch, .internal: .internal
            }
        self.init(code, error.summary)
        if case .untrusted = error { isOfCertificate = true }
    }

    public var description: String {
        var text = message.isEmpty ? code.name : "\(message) (\(code.name))"
        if !limit.isEmpty { text += "; the limit is \(limit) = \(limitValue)" }
        return text
    }
}

extension ClientError: UserFacingError {
    package var summary: String { description }

    package var remedy: String? {
        switch code {
        case .unavailable: "check the address, and that the daemon runs there and accepts connections"
        case .resourceExhausted: retryAfter == nil ? nil : "try again later"
        case .deadlineExceeded: "allow more time"
        case .unauthenticated where isOfCertificate: "give the file of its authority with --tls-ca, and the host by the name in its certificate"
        case .unauthenticated: "show a token of the daemon's tokens file"
        default: nil
        }
    }

    package var category: ErrorCategory {
        switch code {
        case .invalidArgument, .notFound, .failedPrecondition, .alreadyExists, .outOfRange, .aborted: .invalidInput
        case .dataLoss: .corrupt
        case .deadlineExceeded: .deadline
        case .resourceExhausted: .exhausted
        case .unavailable: .unavailable
        case .permissionDenied, .unauthenticated: .permission
        case .unimplemented: .incompatible
        case .cancelled: .cancelled
        default: .internal
        }
    }
}
