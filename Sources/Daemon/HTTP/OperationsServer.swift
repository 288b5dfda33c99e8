import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization
import Transport

/// The HTTP port for machines that look after the daemon: `/livez`, `/readyz`, `/health`, `/metrics`.
final class OperationsServer: Sendable {
    let endpoint: Endpoint
    private let group: MultiThreadedEventLoopGroup
    private let channel: any Channel

    /// Opens the port; nil when it is off.
    init?(_ configuration: Configuration, activated: Int32?, service: Service) throws {
        let wanted = try configuration.httpEndpoint()
        guard wanted != nil || activated != nil else { return nil }
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let open = OpenChannels()
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 64)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.maxMessagesPerRead, value: 1)
            .childChannelInitializer { [weak service] channel in
                channel.eventLoop.makeCompletedFuture {
                    guard let service, open.isAllowed(channel) else { return channel.close(promise: nil) }
                    try Self.configure(channel, service)
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
        let address = channel.localAddress
        endpoint = .tcp(host: address?.ipAddress ?? "localhost", port: UInt16(address?.port ?? 0))
    }

    /// The connections of the port, which has its own bound: whoever looks after a daemon full of other connections
    /// still finds it alive.
    private final class OpenChannels: Sendable {
        private static let maximum = 256
        private let count = Atomic<Int>(0)

        /// False when there are too many; else `channel` counts until it closes.
        func isAllowed(_ channel: any Channel) -> Bool {
            guard count.wrappingAdd(1, ordering: .relaxed).newValue <= Self.maximum else {
                count.wrappingSubtract(1, ordering: .relaxed)
                return false
            }
            channel.closeFuture.whenComplete { [self] _ in count.wrappingSubtract(1, ordering: .relaxed) }
            return true
        }
    }

    func close() {
        try? channel.close().wait()
        try? group.syncShutdownGracefully()
    }

    private static func configure(_ channel: any Channel, _ service: Service) throws {
        let budget = HeadBudget(service.configuration)
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHandler(HeadLimiter(budget))
        try pipeline.configureHTTPServerPipeline(withPipeliningAssistance: true, withErrorHandling: true)
        try pipeline.addHandler(OperationsHandler(service, budget))
    }
}

/// What is left of a request's head: shared by the limiter before the parser and the handler behind it, both on
/// one event loop.
final class HeadBudget {
    static let maximumBytes = 16_384
    static let maximumFields = 64

    /// The whole head must be there so soon after its first byte.
    let headTimeout: TimeAmount
    /// Between requests, and before the first.
    let idleTimeout: TimeAmount
    /// Bytes of the head that is coming in.
    private(set) var bytes = 0
    /// When that head, or the pause before it, began.
    private var since = NIODeadline.now()

    /// 10 s and 60 s, or what the settings for frames and idle connections allow if that is less.
    init(_ configuration: Configuration) {
        headTimeout = .nanoseconds(min(10_000_000_000, Int64(clamping: configuration.frameTimeout.nanoseconds)))
        let idle = configuration.idleTimeout.nanoseconds
        idleTimeout = .nanoseconds(min(60_000_000_000, idle == 0 ? .max : Int64(clamping: idle)))
    }

    /// More of a head has come; false when it is too much.
    func take(_ count: Int) -> Bool {
        if bytes == 0 { since = .now() }
        bytes += count
        return bytes <= Self.maximumBytes
    }

    /// A head is whole.
    func restart() {
        bytes = 0
        since = .now()
    }

    var isOverdue: Bool { NIODeadline.now() > since + (bytes > 0 ? headTimeout : idleTimeout) }
}

/// Ends a connection whose head grows too long, or comes too slowly, before the parser holds it, and one that is idle.
final class HeadLimiter: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let budget: HeadBudget
    private var isOver = false
    private var isActive = false

    init(_ budget: HeadBudget) { self.budget = budget }

    func channelActive(context: ChannelHandlerContext) {
        isActive = true
        watch(context.channel)
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        isActive = false
        context.fireChannelInactive()
    }

    /// Looks at the time four times a second for as long as the connection lives.
    private func watch(_ channel: any Channel) {
        channel.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(250)) { [self] in
            guard isActive else { return }
            if budget.isOverdue { channel.close(promise: nil) } else { watch(channel) }
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isOver else { return }
        guard budget.take(unwrapInboundIn(data).readableBytes) else {
            isOver = true
            var answer = context.channel.allocator.buffer(capacity: 96)
            answer.writeString(
                "HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            context.writeAndFlush(wrapOutboundOut(answer), promise: nil)
            return context.close(promise: nil)
        }
        context.fireChannelRead(data)
    }
}
