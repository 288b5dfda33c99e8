package import Bytes
package import Diagnostics

/// Why a store cannot be read or written: always the folder.
package enum StoreError: UserFacingError, Equatable {
    case file(FileError)
    case missing(path: String)
    /// A folder with an LMDB file that somebody else made.
    case foreign(path: String, reason: String)
    case truncated(path: String, expected: UInt64, actual: UInt64)
    case damaged(path: String, reason: String)
    /// Larger than a store may become.
    case tooLarge(path: String, maximum: Int)
    case tooManyReaders(path: String)
    /// The transaction does not fit in the map; `Environment.write` enlarges it and begins again.
    case mapFull(path: String)

    package var summary: String {
        switch self {
        case .file(let error): error.summary
        case .missing(let path): "there is no rule library (no data.mdb) in \(path)"
        case .foreign(let path, let reason): "\(path) holds something else: \(reason)"
        case .truncated(let path, let expected, let actual):
            "\(path) is truncated: \(actual) bytes of \(expected) or more"
        case .damaged(let path, let reason): "\(path) is damaged: \(reason)"
        case .tooLarge(let path, let maximum): "\(path) would need more than \(maximum) bytes"
        case .tooManyReaders(let path): "\(path) has as many readers as it can have"
        case .mapFull(let path): "the map of \(path) is full"
        }
    }

    package var remedy: String? {
        switch self {
        case .file(let error): error.remedy
        case .missing: "check the path"
        case .foreign: "give another folder"
        case .truncated, .damaged: "restore it from a backup, or make it again in another folder"
        case .tooLarge: "prune it, or begin another"
        case .tooManyReaders: "end some of the programs that read it"
        case .mapFull: nil
        }
    }

    package var category: ErrorCategory {
        switch self {
        case .file(let error): error.category
        case .missing: .notFound
        case .foreign: .incompatible
        case .truncated, .damaged: .corrupt
        case .tooLarge, .tooManyReaders, .mapFull: .exhausted
        }
    }
}
