package import Bytes
package import Diagnostics
package import Models
package import Rules
package import Tokenization

/// What can be wrong with the material or the options of a fit.
package enum FittingError: UserFacingError, Equatable {
    case file(FileError)
    case tokenization(TokenizationError)
    case model(ModelError)
    case rules(RuleError)
    /// More vectors than lines: they cannot belong together.
    case tooFewTexts(texts: String, lines: Int, vectors: String, rows: Int)
    case width(vectors: String, columns: Int, expected: String)
    case scales(path: String, count: Int, rows: Int)
    case zeroVector(path: String, row: Int)
    /// Files that should be of the same texts have different numbers of rows.
    case rowCounts(first: String, second: String, rows: [Int])
    case noAxes
    /// The vectors are wider than the model to go on from, and nothing says how it was projected.
    case noBasis(vectors: String, columns: Int, dimensions: Int)
    /// The projection is not the one that the model to go on from was fitted with.
    case otherBasis(path: String)
    /// What the model to go on from says and what the teacher says have nothing in common.
    case otherSpace(cosine: Double)
    case nothingToFit(texts: Int, heldOut: Int)
    /// The search for rules has nothing to choose from.
    case noPatterns(texts: Int, minimumCount: Int)
    case start(path: String, rows: Int, pieces: Int)
    case options(String)
    /// The loss of an epoch is not a finite number.
    case diverged(epoch: Int)
    case checkpoint(path: String, reason: String)

    package var summary: String {
        switch self {
        case .file(let error): error.summary
        case .tokenization(let error): error.summary
        case .model(let error): error.summary
        case .rules(let error): error.summary
        case .tooFewTexts(let texts, let lines, let vectors, let rows):
            "\(vectors) has \(rows) rows, \(texts) only \(lines) lines"
        case .width(let vectors, let columns, let expected):
            "\(vectors) has \(columns) columns where \(expected) are needed"
        case .scales(let path, let count, let rows): "\(path) has \(count) scales for \(rows) rows"
        case .zeroVector(let path, let row): "row \(row) of \(path) is zero or not finite"
        case .rowCounts(let first, let second, let rows):
            "\(first) has \(rows[0]) rows, \(second) \(rows[1]): they are not of the same texts"
        case .noAxes: "the teacher's vectors have no principal axes: some are not finite"
        case .noBasis(let vectors, let columns, let dimensions):
            "\(vectors) has \(columns) columns, the model to go on from \(dimensions) dimensions"
        case .otherBasis(let path): "\(path) is not the basis that the model to go on from was fitted with"
        case .otherSpace(let cosine):
            "the model to go on from agrees with the teacher by a mean cosine of \(Float(cosine)) only: their dimensions do "
                + "not mean the same"
        case .nothingToFit(let texts, let heldOut): "\(texts) texts to fit and \(heldOut) held out are too few"
        case .noPatterns(let texts, let count):
            "no pattern that stands in \(count) of \(texts) texts lacks more than chance would have it"
        case .start(let path, let rows, let pieces):
            "\(path) has \(rows) rows, the vocabulary \(pieces) pieces"
        case .options(let reason): reason
        case .diverged(let epoch): "the fit diverged: the loss of epoch \(epoch) is not a finite number"
        case .checkpoint(let path, let reason): "\(path): \(reason)"
        }
    }

    package var remedy: String? {
        switch self {
        case .file(let error): error.remedy
        case .tokenization(let error): error.remedy
        case .model(let error): error.remedy
        case .rules(let error): error.remedy
        case .tooFewTexts: "give the text file that the vectors were captured from"
        case .width: "capture full vectors with the same teacher, or give --basis"
        case .scales: "give the scales that were written with these vectors"
        case .rowCounts: "capture the same texts with both teachers"
        case .zeroVector: "capture the vectors again"
        case .diverged: "lower --rate and --dense-rate"
        case .noAxes, .options: nil
        case .noBasis: "give the basis that the model was fitted with: --basis"
        case .otherBasis: "give that basis, or fit a new model without --from"
        case .otherSpace: "give vectors of the model's own teacher in its own basis, or fit a new model without --from"
        case .nothingToFit: "give more text, or change --held-out"
        case .noPatterns: "give more text, or lower --minimum-count or --evidence"
        case .start: "capture the pieces of this very vocabulary"
        case .checkpoint: "begin anew, without --resume"
        }
    }

    package var category: ErrorCategory {
        switch self {
        case .file(let error): error.category
        case .model(let error): error.category
        case .rules(let error): error.category
        case .tokenization(let error): error.category
        case .options: .usage
        case .checkpoint: .incompatible
        default: .invalidInput
        }
    }
}

/// Runs `body` with its file errors as fitting errors.
func reading<R>(_ body: () throws(FileError) -> R) throws(FittingError) -> R {
    do throws(FileError) { return try body() } catch { throw .file(error) }
}
