package import Diagnostics

package enum TokenizationError: UserFacingError, Equatable {
    case unusableModel(reason: String)
    case untrainable(reason: String)

    package var summary: String {
        switch self {
        case .unusableModel(let reason): "the SentencePiece model cannot be opened: \(reason)"
        case .untrainable(let reason): "no SentencePiece model could be trained: \(reason)"
        }
    }

    package var remedy: String? {
        switch self {
        case .unusableModel: nil
        case .untrainable: "give more or other texts, or ask for another number of pieces"
        }
    }

    package var category: ErrorCategory {
        switch self {
        case .unusableModel: .corrupt
        case .untrainable: .invalidInput
        }
    }
}

extension [CChar] {
    /// The text up to the terminating zero that a C function left in this buffer.
    var untilTerminator: String {
        String(decoding: prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
