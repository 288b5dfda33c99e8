package import Bytes
package import Diagnostics
package import Tokenization

/// Why a fit cannot be had.
package enum FitError: UserFacingError, Equatable {
    case file(FileError)
    case vocabulary(TokenizationError)
    case countsDiffer(texts: String, textCount: Int, vectors: String, vectorCount: Int)
    case badVector(path: String, row: Int)
    case wrongWidth(path: String, columns: Int, expected: Int)
    case tooFewTexts(count: Int)
    case noAxes
    case foreignCheckpoint(path: String)

    package var summary: String {
        switch self {
        case .file(let error): error.summary
        case .vocabulary(let error): error.summary
        case .countsDiffer(let texts, let textCount, let vectors, let vectorCount):
            "\(texts) has \(textCount) lines, and \(vectors) has \(vectorCount) rows"
        case .badVector(let path, let row): "\(path), row \(row): the vector is zero or not finite"
        case .wrongWidth(let path, let columns, let expected):
            "\(path) has \(columns) columns instead of \(expected)"
        case .tooFewTexts(let count): "\(count) texts with a piece are too few to fit and to hold some out"
        case .noAxes: "the teacher's vectors have no principal axes"
        case .foreignCheckpoint(let path): "\(path) belongs to a fit of other texts, vectors or options"
        }
    }

    package var remedy: String? {
        switch self {
        case .file(let error): error.remedy
        case .vocabulary(let error): error.remedy
        case .countsDiffer: "capture the vectors of exactly these texts"
        case .foreignCheckpoint: "remove it, or give the inputs it was made with"
        default: nil
        }
    }

    package var category: ErrorCategory {
        switch self {
        case .file(let error): error.category
        case .noAxes: .internal
        default: .invalidInput
        }
    }
}

/// Runs `body` and makes its file errors ours.
func filing<T>(_ body: () throws(FileError) -> T) throws(FitError) -> T {
    do throws(FileError) { return try body() } catch { throw .file(error) }
}
