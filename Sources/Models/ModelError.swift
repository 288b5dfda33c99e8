package import Bytes
package import Diagnostics

/// Why a model file cannot be used or written: always the file, and the section where one is at fault.
package enum ModelError: UserFacingError, Equatable {
    case file(FileError)
    case foreign(path: String)
    case newer(path: String, version: UInt32)
    case older(path: String, version: UInt32)
    case truncated(path: String, expected: UInt64, actual: Int)
    case header(path: String, reason: String)
    case section(path: String, name: String, reason: String)

    package var summary: String {
        switch self {
        case .file(let error): error.summary
        case .foreign(let path): "\(path) is not a sae model: it does not begin with SAEMODEL"
        case .newer(let path, let version), .older(let path, let version):
            "\(path) is a model of format \(version), and this program reads format \(ModelFormat.version)"
        case .truncated(let path, let expected, let actual):
            "\(path) is truncated: \(actual) bytes of \(expected)"
        case .header(let path, let reason): "\(path): the header is damaged: \(reason)"
        case .section(let path, let name, let reason): "\(path): section \"\(name)\": \(reason)"
        }
    }

    package var remedy: String? {
        switch self {
        case .file(let error): error.remedy
        case .foreign: "give a file made by sae fit"
        case .newer: "upgrade sae, or fit the model again"
        case .older: "fit it again, or get the model that comes with this version of sae"
        case .truncated, .header, .section: "copy the file again, or fit it again"
        }
    }

    package var category: ErrorCategory {
        switch self {
        case .file(let error): error.category
        case .newer, .older: .incompatible
        case .foreign, .truncated, .header, .section: .corrupt
        }
    }
}
