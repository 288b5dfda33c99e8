package import Diagnostics
import Glibc

/// What can go wrong with a file: the path and the cause, always.
package enum FileError: UserFacingError, Equatable {
    case system(operation: String, path: String, errno: Int32)
    case format(path: String, reason: String)

    package var summary: String {
        switch self {
        case .system(let operation, let path, let code):
            "cannot \(operation) \(path): \(String(cString: strerror(code)))"
        case .format(let path, let reason): "\(path): \(reason)"
        }
    }

    package var remedy: String? {
        guard case .system(_, _, let code) = self else { return nil }
        return switch code {
        case ENOENT: "check the path"
        case EACCES, EPERM: "check the permissions of the file and its folder"
        case ENOSPC: "free some space on that disk"
        default: nil
        }
    }

    package var category: ErrorCategory {
        guard case .system(_, _, let code) = self else { return .corrupt }
        return switch code {
        case ENOENT, ENOTDIR: .notFound
        case EACCES, EPERM, EROFS: .permission
        case EMFILE, ENFILE, ENOMEM: .exhausted
        default: .inputOutput
        }
    }
}
