package import Diagnostics

/// Why the settings cannot be used. All of these stop the start with exit code 78.
package enum ConfigurationError: UserFacingError, Equatable {
    case unreadable(path: String, reason: String)
    case syntax(path: String, at: TextPosition, reason: String)
    case unknown(name: String, origin: String, nearest: String)
    case missingValue(flag: String)
    case badValue(key: String, origin: String, value: String, reason: String)
    case notLoopback(key: String, address: String)
    case badAddress(key: String, origin: String, address: String, reason: String)
    case noListener

    package var summary: String {
        switch self {
        case .unreadable(let path, let reason): "\(path): \(reason)"
        case .syntax(let path, let position, let reason): "\(path), \(position): \(reason)"
        case .unknown(let name, let origin, _): "unknown setting \(name) (\(origin))"
        case .missingValue(let flag): "\(flag) needs a value"
        case .badValue(let key, let origin, let value, let reason):
            "\(key) = \(value) (\(origin)) is not possible: it \(reason)"
        case .notLoopback(let key, let address):
            "\(key) = \(address) is not a loopback address, and without tokens and TLS no other may be opened"
        case .badAddress(let key, let origin, let address, let reason): "\(key) = \(address) (\(origin)): \(reason)"
        case .noListener: "listen.tcp and listen.unix are both empty: nobody could reach the daemon"
        }
    }

    package var remedy: String? {
        switch self {
        case .unreadable: "check the path and its permissions, or give --config"
        case .syntax: nil
        case .unknown(_, _, let nearest): "did you mean \(nearest)?"
        case .missingValue, .badValue: "see deploy/config/sae.toml for every setting"
        case .notLoopback: "use 127.0.0.1, [::1] or a Unix socket"
        case .badAddress("listen.unix", _, _, _): "give a path of 1 to 107 bytes"
        case .badAddress: "write HOST:PORT, as 127.0.0.1:7733"
        case .noListener: "set one of them"
        }
    }

    /// True for a flag or value that is wrong as it stands on the command line: the caller's mistake, not the machine's.
    package var isUsage: Bool {
        switch self {
        case .missingValue: true
        case .unknown(_, let origin, _), .badValue(_, let origin, _, _), .badAddress(_, let origin, _, _): origin == "flag"
        case .unreadable, .syntax, .notLoopback, .noListener: false
        }
    }

    package var category: ErrorCategory {
        switch self {
        case .unreadable: .notFound
        default: .usage
        }
    }
}
