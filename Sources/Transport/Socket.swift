import CPosix
import Glibc

/// An open, non-blocking stream socket that closes itself.
package struct Socket: ~Copyable {
    package let number: Int32

    /// Takes over an open descriptor.
    package init(adopting number: Int32) { self.number = number }

    deinit { close(number) }

    /// Gives the descriptor away; the caller closes it.
    package consuming func release() -> Int32 {
        let number = number
        discard self
        return number
    }

    /// Opens a listening socket. A stale socket file is replaced; one that answers, and any other file, is an error.
    package static func listening(
        on endpoint: Endpoint, unixMode: Int = 0o660, backlog: Int32 = 1_024
    ) throws(TransportError) -> Socket {
        // A name is resolved to its first address of the family.
        guard let address = try endpoint.addresses(family: endpoint.family).first else {
            throw .unknownHost(endpoint.description, reason: "it has no address")
        }
        let socket = try Socket(family: address.family, for: endpoint)
        switch endpoint {
        case .tcp, .tls:
            socket.enable(SO_REUSEADDR, level: SOL_SOCKET)
        case .unix(let path):
            if (try? connecting(to: endpoint)) != nil { throw .addressInUse(endpoint.description) }
            var status = stat()
            if lstat(path, &status) == 0 {
                guard status.st_mode & S_IFMT != S_IFDIR else { throw .isDirectory(path: path) }
                guard status.st_mode & S_IFMT == S_IFSOCK else { throw .notASocket(endpoint.description) }
                unlink(path)
            }
        }
        let before = umask(mode_t(0o777 & ~unixMode))
        let bound = address.withPointer { bind(socket.number, $0, $1) }
        let failure = errno
        umask(before)
        guard bound == 0 else {
            if failure == EADDRINUSE { throw .addressInUse(endpoint.description) }
            throw .system(operation: "bind", endpoint: endpoint.description, errno: failure)
        }
        guard listen(socket.number, backlog) == 0 else {
            throw .system(operation: "listen on", endpoint: endpoint.description, errno: errno)
        }
        return socket
    }

    /// Connects and makes the socket non-blocking. Waits at most `timeout`, to the millisecond; 0 is as long as the
    /// kernel does. Of a host with several addresses, of both families, the first that answers is taken, in the system's order.
    package static func connecting(
        to endpoint: Endpoint, timeout: Duration = .zero
    ) throws(TransportError) -> Socket {
        try connecting(to: try endpoint.addresses(), of: endpoint, timeout: timeout)
    }

    /// As above, to the first of some addresses that answers. Each is given an equal part of the time that is left.
    ///
    /// - Throws: what the first one said, where none answers.
    package static func connecting(
        to addresses: [SocketAddress], of endpoint: Endpoint, timeout: Duration
    ) throws(TransportError) -> Socket {
        let end = ContinuousClock.now + timeout
        var failure = TransportError.unknownHost(endpoint.description, reason: "it has no address")
        for (index, address) in addresses.enumerated() {
            // 0 would be for ever.
            let left = max(.milliseconds(1), ContinuousClock.now.duration(to: end)) / (addresses.count - index)
            do throws(TransportError) {
                return try connecting(to: address, of: endpoint, timeout: timeout == .zero ? .zero : left)
            } catch {
                if index == 0 { failure = error }
            }
        }
        throw failure
    }

    private static func connecting(
        to address: SocketAddress, of endpoint: Endpoint, timeout: Duration
    ) throws(TransportError) -> Socket {
        let socket = try Socket(family: address.family, for: endpoint, isBlocking: true)
        let (seconds, attoseconds) = timeout.components
        var patience = timeval(tv_sec: Int(seconds), tv_usec: Int(attoseconds / 1_000_000_000_000))
        // connect(2) obeys the time-out for sending.
        setsockopt(socket.number, SOL_SOCKET, SO_SNDTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        var result: Int32
        repeat {
            result = address.withPointer { connect(socket.number, $0, $1) }
        } while result != 0 && errno == EINTR
        guard result == 0 else {
            let isLate = errno == EINPROGRESS || errno == EAGAIN
            throw .system(operation: "connect to", endpoint: endpoint.description, errno: isLate ? ETIMEDOUT : errno)
        }
        _ = sae_set_nonblocking(socket.number)
        if address.family != AF_UNIX { socket.enable(Int32(TCP_NODELAY), level: Int32(IPPROTO_TCP)) }
        return socket
    }

    private init(family: Int32, for endpoint: Endpoint, isBlocking: Bool = false) throws(TransportError) {
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        number = socket(family, isBlocking ? type : type | Int32(SOCK_NONBLOCK.rawValue), 0)
        guard number >= 0 else {
            throw .system(operation: "open a socket for", endpoint: endpoint.description, errno: errno)
        }
    }

    package borrowing func enable(_ option: Int32, level: Int32) {
        var one: Int32 = 1
        setsockopt(number, level, option, &one, socklen_t(MemoryLayout<Int32>.size))
    }
}

extension Endpoint {
    /// The address that a bound socket really has: with the port that the kernel chose.
    package init?(ofLocal descriptor: Int32) {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = withUnsafeMutablePointer(to: &storage) { storage in
            storage.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        guard result == 0 else { return nil }
        switch Int32(storage.ss_family) {
        case AF_UNIX:
            self = .unix(path: withUnsafeBytes(of: &storage) { bytes in
                let path = bytes[MemoryLayout<sa_family_t>.size..<max(Int(length), 2)]
                return String(decoding: path.prefix { $0 != 0 }, as: UTF8.self)
            })
        case AF_INET, AF_INET6:
            var host = [CChar](repeating: 0, count: 64), service = [CChar](repeating: 0, count: 16)
            let named = withUnsafeMutablePointer(to: &storage) { storage in
                storage.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    getnameinfo($0, length, &host, 64, &service, 16, NI_NUMERICHOST | NI_NUMERICSERV)
                }
            }
            guard named == 0 else { return nil }
            let text = { (field: [CChar]) in
                String(decoding: field.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
            }
            self = .tcp(host: text(host), port: UInt16(text(service)) ?? 0)
        default: return nil
        }
    }

    /// True for a Unix socket, and for a host that stands for this machine's loopback only.
    package var isLoopback: Bool {
        switch self {
        case .unix: true
        case .tcp(let host, _), .tls(let host, _): host == "localhost" || host == "::1" || Self.isLoopbackIPv4(host)
        }
    }

    private static func isLoopbackIPv4(_ host: String) -> Bool {
        var address = in_addr()
        return inet_pton(AF_INET, host, &address) == 1 && UInt32(bigEndian: address.s_addr) >> 24 == 127
    }

    /// What a listener takes.
    fileprivate var family: Int32 {
        switch self {
        case .unix: AF_UNIX
        case .tcp(let host, _), .tls(let host, _): host.contains(":") ? AF_INET6 : AF_INET
        }
    }

    /// Where this is, in the order in which the system wants them tried; a name is resolved.
    package func addresses(family: Int32 = AF_UNSPEC) throws(TransportError) -> [SocketAddress] {
        switch self {
        case .unix(let path):
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8).prefix(107)) }
            return [withUnsafeBytes(of: &address) { SocketAddress(bytes: Array($0), family: AF_UNIX) }]
        case .tcp(let host, let port), .tls(let host, let port):
            var hints = addrinfo()
            hints.ai_family = family
            hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
            var found: UnsafeMutablePointer<addrinfo>?
            let status = getaddrinfo(host, String(port), &hints, &found)
            guard status == 0 else { throw .unknownHost(host, reason: String(cString: gai_strerror(status))) }
            defer { freeaddrinfo(found) }
            return sequence(first: found) { $0?.pointee.ai_next }.prefix { $0 != nil }.compactMap { entry in
                guard let entry = entry?.pointee, let address = entry.ai_addr else { return nil }
                let bytes = UnsafeRawBufferPointer(start: address, count: Int(entry.ai_addrlen))
                return SocketAddress(bytes: Array(bytes), family: entry.ai_family)
            }
        }
    }
}

/// A `sockaddr` of any family.
package struct SocketAddress: Sendable {
    fileprivate let bytes: [UInt8]
    package let family: Int32

    fileprivate func withPointer(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        bytes.withUnsafeBytes { raw in
            guard let base = raw.baseAddress else { return -1 }
            return body(base.assumingMemoryBound(to: sockaddr.self), socklen_t(raw.count))
        }
    }
}
