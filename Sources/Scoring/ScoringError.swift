package import Diagnostics

/// Why rules cannot be scored, or not by the back end that was asked for.
package enum ScoringError: UserFacingError, Equatable {
    /// The rules themselves are unusable: no back end takes them.
    case rules(String)

    package var summary: String {
        switch self {
        case .rules(let reason): "the context rules have \(reason)"
        }
    }

    package var remedy: String? {
        switch self {
        case .rules: "fit the model again"
        }
    }

    package var category: ErrorCategory {
        switch self {
        case .rules: .corrupt
        }
    }
}
