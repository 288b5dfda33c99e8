import Glibc
package import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization
import Transport
import Wire

/// The HTTP port: `/livez`, `/metrics` and the like for machines that look after the daemon, and the routes of two
/// widespread APIs for clients that embed. One event loop serves it; computing is the workers'.
final class HTTPServer: Sendable {
    let endpoint: Endpoint
    let connections: HTTPConnections
    private let group: MultiThreadedEventLoopGroup
    private let channel: any Channel
    /// When the event loop was asked for a sign of life that it owes; 0 when it owes none.
    private let asked = Atomic<UInt64>(0)

    /// Opens the port; nil when it is off.
    init?(_ configuration: Configuration, activated: Int32?, service: Service) throws {
        let wanted = try configuration.httpEndpoint()
        guard wanted != nil || activated != nil else { return nil }
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let connections = HTTPConnections()
        let bootstrap = ServerBootstrap(group: group)
            // A flood that the backlog does not hold makes whoever looks after the daemon wait a second for each try.
            .serverChannelOption(.backlog, value: 1_024)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(AcceptPause()) }
            }
            .childChannelOption(.maxMessagesPerRead, value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { [weak service] channel in
                channel.eventLoop.makeCompletedFuture {
                    guard let service else { return channel.close(promise: nil) }
                    try service.serveHTTP(on: channel, connections)
                }
            }
        do {
            if let activated {
                channel = try bootstrap.withBoundSocket(activated).wait()
            } else if case .tcp(let host, let port)? = wanted {
                channel = try bootstrap.bind(host: host, port: Int(port)).wait()
            } else {
                return nil
            }
        } catch {
            try? group.syncShutdownGracefully()
            let name = wanted?.description ?? "the activated HTTP socket"
            if let error = error as? IOError, error.errnoCode == EADDRINUSE { throw TransportError.addressInUse(name) }
            throw TransportError.system(
                operation: "listen on", endpoint: name, errno: (error as? IOError)?.errnoCode ?? EIO)
        }
        self.group = group
        self.connections = connections
        let address = channel.localAddress
        endpoint = .tcp(host: address?.ipAddress ?? "localhost", port: UInt16(address?.port ?? 0))
    }

    /// How long the event loop has owed a sign of life, in nanoseconds. Asks for one where it owes none.
    func lag(_ now: UInt64) -> UInt64 {
        let (isAsked, since) = asked.compareExchange(expected: 0, desired: now, ordering: .relaxed)
        guard isAsked else { return now - min(now, since) }
        channel.eventLoop.execute { [weak self] in self?.asked.store(0, ordering: .relaxed) }
        return 0
    }

    /// The end of a drain: what is under way gets UNAVAILABLE, and idle connections close.
    func closeConnections() {
        let connections = connections
        channel.eventLoop.execute { connections.closeForDrain() }
    }

    func close() {
        try? channel.close().wait()
        try? group.syncShutdownGracefully()
    }
}

extension Service {
    /// Makes a new channel a connection of the HTTP port, apart from the port; on the channel's event loop.
    package func serveHTTP(on channel: any Channel) throws { try serveHTTP(on: channel, HTTPConnections()) }

    func serveHTTP(on channel: any Channel, _ connections: HTTPConnections) throws {
        let connection = HTTPConnection(self, connections)
        var limits = NIOHTTPDecoderLimitConfiguration()
        limits.maxHeaderFieldSize = HTTPConnection.maximumHeadBytes
        limits.maxHeaderListSize = HTTPConnection.maximumHeadBytes
        limits.maxHeaderFieldCount = HTTPConnection.maximumFieldCount
        let pipeline = channel.pipeline.syncOperations
        let serving = serving
        if let encryption = serving.encryption {
            let timeout = serving.configuration.handshakeTimeout
            let encrypting = try HTTPEncryption(encryption, timeout: timeout) { [weak self, weak connection] error in
                guard let self, let connection else { return }
                encryptionFailed(connection.id, peer: "http", error)
                connection.close(reason: "tls")
            }
            try pipeline.addHandler(encrypting)
        }
        try pipeline.addHandler(HTTPByteTap(connection))
        // The connection answers errors itself: some are 431.
        try pipeline.configureHTTPServerPipeline(
            withErrorHandling: false, withEncoderConfiguration: .init(), withDecoderLimitConfiguration: limits)
        try pipeline.addHandler(connection)
    }
}

/// The open connections of the port, which has its own bound: whoever looks after a daemon full of other connections
/// still finds it alive.
///
/// Safe as `Sendable`: the list is touched on the port's event loop only, and the numbers are atomic or behind a lock.
final class HTTPConnections: @unchecked Sendable {
    static let maximum = 1_024

    private var all: [ObjectIdentifier: HTTPConnection] = [:]
    private let open = Atomic<Int>(0)
    /// Requests that wait for workers, or whose answers are not all sent.
    private let calls = Mutex<[Method: Int]>([:])

    var isQuiet: Bool { calls.withLock { $0.isEmpty } }
    var counts: OpenCounts {
        let calls = calls.withLock { $0 }
        return OpenCounts(
            connections: [.http: open.load(ordering: .relaxed)], streams: [.http: calls.values.reduce(0, +)], calls: calls)
    }

    /// One more; over the bound another goes: the one that has been idle for longest, or, where all have begun a request, the
    /// one whose request has been incomplete for longest.
    func add(_ connection: HTTPConnection) {
        all[ObjectIdentifier(connection)] = connection
        open.store(all.count, ordering: .relaxed)
        guard all.count > Self.maximum else { return }
        let others = all.values.filter { $0 !== connection }
        let idle = others.filter(\.isIdle)
        let given = (idle.isEmpty ? others.filter(\.isReading) : idle).min { $0.since < $1.since }
        (given ?? connection).close(reason: "evicted")
    }

    func remove(_ connection: HTTPConnection) {
        all[ObjectIdentifier(connection)] = nil
        open.store(all.count, ordering: .relaxed)
    }

    func begin(_ method: Method) { calls.withLock { $0[method, default: 0] += 1 } }
    func end(_ method: Method) {
        calls.withLock { calls in
            let rest = calls[method, default: 1] - 1
            calls[method] = rest == 0 ? nil : rest
        }
    }

    func closeForDrain() {
        for connection in Array(all.values) { connection.closeForDrain() }
    }
}

/// Sits before the parser: tells the connection of bytes, which it counts and whose times it keeps.
final class HTTPByteTap: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = IOData

    private let connection: HTTPConnection

    init(_ connection: HTTPConnection) { self.connection = connection }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        connection.received(Self.unwrapInboundIn(data).readableBytes)
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        connection.sent(Self.unwrapOutboundIn(data).readableBytes)
        context.write(data, promise: promise)
    }
}
