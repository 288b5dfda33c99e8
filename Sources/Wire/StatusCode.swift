/// The status of a call: gRPC's codes and numbers.
package enum StatusCode: UInt32, Sendable, CaseIterable {
    case ok = 0
    case cancelled, unknown, invalidArgument, deadlineExceeded, notFound, alreadyExists, permissionDenied
    case resourceExhausted, failedPrecondition, aborted, outOfRange, unimplemented, `internal`, unavailable
    case dataLoss, unauthenticated

    /// The name as it stands in logs, metrics and the specification: `RESOURCE_EXHAUSTED`.
    package var name: String {
        switch self {
        case .ok: "OK"
        case .cancelled: "CANCELLED"
        case .unknown: "UNKNOWN"
        case .invalidArgument: "INVALID_ARGUMENT"
        case .deadlineExceeded: "DEADLINE_EXCEEDED"
        case .notFound: "NOT_FOUND"
        case .alreadyExists: "ALREADY_EXISTS"
        case .permissionDenied: "PERMISSION_DENIED"
        case .resourceExhausted: "RESOURCE_EXHAUSTED"
        case .failedPrecondition: "FAILED_PRECONDITION"
        case .aborted: "ABORTED"
        case .outOfRange: "OUT_OF_RANGE"
        case .unimplemented: "UNIMPLEMENTED"
        case .internal: "INTERNAL"
        case .unavailable: "UNAVAILABLE"
        case .dataLoss: "DATA_LOSS"
        case .unauthenticated: "UNAUTHENTICATED"
        }
    }
}

/// Why a call was not answered: the terminal status of a stream.
package struct Failure: Error, Sendable, Equatable {
    package var code: StatusCode
    package var message: String
    /// The configuration key of the limit that was met, or empty.
    package var limit: String
    package var limitValue: UInt64
    package var retryAfterMilliseconds: UInt32
    /// True when nothing was begun, so that the call is safe to repeat.
    package var isRefused: Bool

    package init(
        _ code: StatusCode, _ message: String, limit: String = "", value: UInt64 = 0, retryAfter: UInt32 = 0,
        isRefused: Bool = false
    ) {
        self.code = code
        self.message = message
        self.limit = limit
        limitValue = value
        retryAfterMilliseconds = retryAfter
        self.isRefused = isRefused
    }
}
