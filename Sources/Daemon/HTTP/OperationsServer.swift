import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix
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
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 64)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.maxMessagesPerRead, value: 1)
            .childChannelInitializer { [weak service] channel in
                channel.eventLoop.makeCompletedFuture {
                    guard let service else { return }
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

    func close() {
        try? channel.close().wait()
        try? group.syncShutdownGracefully()
    }

    private static func configure(_ channel: any Channel, _ service: Service) throws {
        let budget = HeadBudget()
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
    static let headTimeout = TimeAmount.seconds(10)
    /// Between requests.
    static let idleTimeout = TimeAmount.seconds(60)

    var bytes = 0
    /// Counts requests, so that a timer knows whether its own is still the one under way.
    var requests = 0
}

/// Ends a connection whose head grows too long, or comes too slowly, before the parser holds it.
final class HeadLimiter: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let budget: HeadBudget
    private var isOver = false

    init(_ budget: HeadBudget) { self.budget = budget }

    func channelActive(context: ChannelHandlerContext) {
        closeUnlessDone(context, after: HeadBudget.idleTimeout) { _ in true }
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isOver else { return }
        let isFirst = budget.bytes == 0
        budget.bytes += unwrapInboundIn(data).readableBytes
        guard budget.bytes <= HeadBudget.maximumBytes else {
            isOver = true
            var answer = context.channel.allocator.buffer(capacity: 96)
            answer.writeString(
                "HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            context.writeAndFlush(wrapOutboundOut(answer), promise: nil)
            return context.close(promise: nil)
        }
        if isFirst { closeUnlessDone(context, after: HeadBudget.headTimeout) { $0.bytes > 0 } }
        context.fireChannelRead(data)
    }

    /// Closes when, after `time`, no request has completed and `condition` holds.
    private func closeUnlessDone(
        _ context: ChannelHandlerContext, after time: TimeAmount, _ condition: @escaping (HeadBudget) -> Bool
    ) {
        let before = budget.requests
        let channel = context.channel
        context.eventLoop.assumeIsolated().scheduleTask(in: time) { [budget] in
            if budget.requests == before, condition(budget) { channel.close(promise: nil) }
        }
    }
}
