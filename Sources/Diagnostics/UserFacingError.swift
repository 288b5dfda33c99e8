/// An error that a caller, operator or user meets: it says what went wrong and where, and what to do next.
package protocol UserFacingError: Error, CustomStringConvertible {
    /// What is wrong, and where (path, section, row, line, limit, value). One sentence without a full stop.
    var summary: String { get }
    /// What to do about it, or nil when nothing helps. One sentence without a full stop.
    var remedy: String? { get }
    /// The kind of cause, mapped to an exit code by the command line and to a status by the daemon.
    var category: ErrorCategory { get }
}

extension UserFacingError {
    /// Summary and remedy in one line.
    package var description: String {
        guard let remedy else { return summary }
        return "\(summary); \(remedy)"
    }
}

/// The kinds of cause that a caller can tell apart.
package enum ErrorCategory: String, Sendable, CaseIterable {
    case usage, invalidInput, notFound, corrupt, incompatible, exhausted, unavailable, deadline
    case permission, cancelled, `internal`
    /// A disk or a file failed: full, broken, or of a kind that cannot be read or written so.
    case inputOutput
}
