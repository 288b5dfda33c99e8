package import Diagnostics
package import Encryption

/// Why the settings cannot be used. All of these stop the start with exit code 78.
package enum ConfigurationError: UserFacingError, Equatable {
    case unreadable(path: String, reason: String)
    case syntax(path: String, at: TextPosition, reason: String)
    /// `nearest`: the known name that it is a slip of, if there is one.
    case unknown(name: String, origin: String, nearest: String?)
    case missingValue(flag: String)
    case badValue(key: String, origin: String, value: String, reason: String)
    /// Others could reach the address, and what must guard it is missing.
    case exposed(key: String, address: String, missing: String)
    case openToOthers(path: String)
    case badAddress(key: String, origin: String, address: String, reason: String)
    case noListener
    /// A file of TLS, named by its setting.
    case encryption(EncryptionError)
    /// A setting of TLS that has no meaning without another.
    case incomplete(key: String, missing: String)

    /// On one line, whatever stood in a file or the environment.
    package var summary: String { words.printable() }

    private var words: String {
        func quoted(_ text: String) -> String { text.printable(maximum: 200) }
        return switch self {
        case .unreadable(let path, let reason): reason.contains(path) ? reason : "\(path): \(reason)"
        case .syntax(let path, let position, let reason): "\(path), \(position): \(quoted(reason))"
        case .unknown(let name, let origin, _): "unknown setting \(quoted(name)) (\(origin))"
        case .missingValue(let flag): "\(flag) needs a value"
        case .badValue(let key, let origin, let value, let reason):
            "\(key) = \(quoted(value)) (\(origin)) is not possible: it \(reason)"
        case .exposed(let key, let address, let missing):
            "\(key) = \(quoted(address)) can be reached from other machines, and there is no \(missing)"
        case .openToOthers(let path): "\(path) holds secrets and any user may read it"
        case .badAddress(let key, let origin, let address, let reason): "\(key) = \(quoted(address)) (\(origin)): \(reason)"
        case .noListener: "listen.tcp and listen.unix are both empty: nobody could reach the daemon"
        case .encryption(let error): error.summary
        case .incomplete(let key, let missing): "\(key) is set and \(missing) is not"
        }
    }

    package var remedy: String? {
        switch self {
        case .unreadable: "check the path and its permissions, or give --config"
        case .syntax: nil
        case .unknown(_, _, let nearest?): "did you mean \(nearest)?"
        case .unknown, .missingValue, .badValue: "see sae serve --help for every setting"
        case .exposed:
            "set auth.tokens_file (sae token makes its lines), and tls.certificate or tls.plaintext_ok, or use 127.0.0.1, [::1] or a Unix socket"
        case .openToOthers: "chmod 0640"
        case .badAddress("listen.unix", _, _, _): "give a path of 1 to 107 bytes"
        case .badAddress: "write HOST:PORT, as 127.0.0.1:7733"
        case .noListener: "set one of them"
        case .encryption(let error): error.remedy
        case .incomplete(_, let missing): "set \(missing) too"
        }
    }

    /// True for a flag or value that is wrong as it stands on the command line: the caller's mistake, not the machine's.
    package var isUsage: Bool {
        switch self {
        case .missingValue: true
        case .unknown(_, let origin, _), .badValue(_, let origin, _, _), .badAddress(_, let origin, _, _): origin == "flag"
        case .unreadable, .syntax, .exposed, .openToOthers, .noListener, .encryption, .incomplete: false
        }
    }

    package var category: ErrorCategory {
        switch self {
        case .unreadable: .notFound
        default: .usage
        }
    }
}
