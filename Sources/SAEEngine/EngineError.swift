package import Diagnostics

/// Why an engine cannot be had.
public struct EngineError: Error, Sendable, CustomStringConvertible {
    /// What a caller can tell apart; more may come.
    public struct Code: Sendable, Equatable {
        package let category: ErrorCategory

        /// The model file is not there.
        public static let notFound = Code(category: .notFound)
        /// The model file is damaged, or no model.
        public static let corrupt = Code(category: .corrupt)
        /// The model file is of a format that this version does not read.
        public static let incompatible = Code(category: .incompatible)
        /// The model gives another vector than it should.
        public static let selfTestFailed = Code(category: .internal)
    }

    public let code: Code
    public let description: String
    package let summaryText: String
    package let remedyText: String?

    package init(_ error: any UserFacingError) {
        code = Code(category: error.category)
        description = error.description
        summaryText = error.summary
        remedyText = error.remedy
    }

    init(_ code: Code, _ summary: String, remedy: String) {
        self.code = code
        description = "\(summary); \(remedy)"
        summaryText = summary
        remedyText = remedy
    }
}

extension EngineError: UserFacingError {
    package var summary: String { summaryText }
    package var remedy: String? { remedyText }
    package var category: ErrorCategory { code.category }
}
