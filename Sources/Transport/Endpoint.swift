package import Diagnostics
import Glibc

/// Where a peer is, or where the daemon listens: `tcp://HOST:PORT`, `tls://HOST:PORT` or `unix:PATH`.
package enum Endpoint: Sendable, Hashable, CustomStringConvertible {
    case tcp(host: String, port: UInt16)
    /// TCP with encryption from the first byte.
    case tls(host: String, port: UInt16)
    case unix(path: String)

    /// Parses the written form. An IPv6 address stands in brackets: `tcp://[::1]:7733`.
    package init(parsing text: String) throws(TransportError) {
        if text.hasPrefix("unix:") {
            self = try .unix(checking: String(text.dropFirst("unix:".count)))
        } else if text.hasPrefix("tcp://") {
            self = try .tcp(parsing: String(text.dropFirst("tcp://".count)), of: text)
        } else if text.hasPrefix("tls://") {
            self = try .tcp(parsing: String(text.dropFirst("tls://".count)), of: text).encrypted
        } else {
            throw .badEndpoint(text, reason: "it begins neither with tcp:// nor with tls:// or unix:")
        }
    }

    /// `HOST:PORT`, without a scheme. Port 0 lets the kernel choose when listening.
    package static func tcp(parsing text: String) throws(TransportError) -> Endpoint { try tcp(parsing: text, of: text) }

    /// `whole` is what errors say was written.
    private static func tcp(parsing text: String, of whole: String) throws(TransportError) -> Endpoint {
        guard let colon = text.lastIndex(of: ":") else { throw .badEndpoint(whole, reason: "no port is given") }
        guard let port = UInt16(text[text.index(after: colon)...]) else {
            throw .badEndpoint(whole, reason: "the port is not a number from 0 to 65535")
        }
        var host = String(text[..<colon])
        if host.hasPrefix("[") && host.hasSuffix("]") {
            host = String(host.dropFirst().dropLast())
        } else if host.contains(":") {
            throw .badEndpoint(whole, reason: "an IPv6 address must stand in brackets")
        }
        guard !host.isEmpty else { throw .badEndpoint(whole, reason: "no host is given") }
        return .tcp(host: host, port: port)
    }

    /// A Unix socket at `path`, which must fit the kernel's structure (107 bytes).
    package static func unix(checking path: String) throws(TransportError) -> Endpoint {
        guard !path.isEmpty else { throw .badEndpoint("unix:", reason: "no path is given") }
        guard path.utf8.count <= 107 else {
            throw .badEndpoint("unix:\(path)", reason: "the path is longer than 107 bytes")
        }
        return .unix(path: path)
    }

    /// The same place with encryption; a Unix socket needs none.
    package var encrypted: Endpoint { if case .tcp(let host, let port) = self { .tls(host: host, port: port) } else { self } }

    package var description: String {
        switch self {
        case .tcp(let host, let port): "tcp://\(Self.bracketed(host)):\(port)"
        case .tls(let host, let port): "tls://\(Self.bracketed(host)):\(port)"
        case .unix(let path): "unix:\(path)"
        }
    }

    private static func bracketed(_ host: String) -> String { host.contains(":") ? "[\(host)]" : host }
}

/// What can go wrong with a socket.
package enum TransportError: UserFacingError, Equatable {
    case badEndpoint(String, reason: String)
    case unknownHost(String, reason: String)
    case system(operation: String, endpoint: String, errno: Int32)
    case addressInUse(String)
    case notASocket(String)
    case isDirectory(path: String)

    package var summary: String {
        switch self {
        case .badEndpoint(let text, let reason): "\(text) is not an endpoint: \(reason)"
        case .unknownHost(let host, let reason): "cannot resolve \(host): \(reason)"
        case .system(let operation, let endpoint, let code):
            "cannot \(operation) \(endpoint): \(String(cString: strerror(code)))"
        case .addressInUse(let endpoint): "\(endpoint) is in use by another process"
        case .notASocket(let endpoint): "\(endpoint) exists and is not a socket"
        case .isDirectory(let path): "unix:\(path) is a directory, where the path of a socket is needed"
        }
    }

    package var remedy: String? {
        switch self {
        case .badEndpoint: "write tcp://HOST:PORT, tls://HOST:PORT or unix:PATH"
        case .unknownHost: "check the name"
        case .system(_, _, EACCES), .system(_, _, EPERM):
            "check the permissions of the socket and its folder; ports below 1024 are the system's"
        case .system(let operation, _, _):
            switch operation {
            case "connect to": "check that the daemon runs there"
            case "bind": "make the folder or free the address, or choose another with --unix and --listen ('' for none)"
            default: nil
            }
        case .addressInUse: "stop that process, or choose another address"
        case .notASocket: "choose another path, or remove what is there"
        case .isDirectory(let path): "name a socket in it, as \(path)/sae.sock"
        }
    }

    package var category: ErrorCategory {
        switch self {
        case .badEndpoint: .usage
        case .system(_, _, EACCES), .system(_, _, EPERM): .permission
        case .unknownHost, .system, .addressInUse, .notASocket, .isDirectory: .unavailable
        }
    }
}
