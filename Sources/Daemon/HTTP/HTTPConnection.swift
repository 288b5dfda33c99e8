import NIOCore
import NIOHTTP1
import Transport
import Wire

/// One connection of the HTTP port: requests one after the other, each answered on the spot or by the workers. Keeps
/// the connection's times and what it holds of the daemon's memory. Everything happens on the port's event loop.
final class HTTPConnection: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    static let maximumHeadBytes = 16_384
    static let maximumFieldCount = 64

    enum Phase {
        /// Between requests.
        case idle
        /// A head is coming in.
        case head
        case body(Upload)
        case computing(HTTPExchange, Request)
        case answering
        /// The last answer is sent: what still comes in is dropped, for a second.
        case closing
    }

    /// A body as it comes in.
    struct Upload {
        let route: HTTPRoute
        let arrival: UInt64
        let deadline: UInt64
    }

    let id: UInt64
    let service: Service
    let connections: HTTPConnections
    let queue = RequestQueue()
    var context: ChannelHandlerContext?
    var phase = Phase.idle
    /// When the phase began, or an answer last moved on.
    private(set) var since = monotonicNanoseconds()
    private var closeReason = "eof"

    /// Of the request under way.
    var head = HTTPRequestHead(version: .http1_1, method: .GET, uri: "/")
    var family = HTTPRoute.Family.plain
    var closesAfterwards = false
    /// The method of the request that is counted as under way.
    var counted: Method?
    var deadlineTimer: Scheduled<Void>?
    var body: [UInt8] = []
    /// Bytes accounted for: the body as it comes in, then what the request holds.
    var heldBytes = 0
    private lazy var output = HTTPOutput(
        onProgress: { [weak self] in self?.since = monotonicNanoseconds() }, onSent: { [weak self] in self?.answerIsSent() })

    init(_ service: Service, _ connections: HTTPConnections) {
        self.service = service
        self.connections = connections
        id = service.nextConnectionID()
    }

    var isIdle: Bool { if case .idle = phase { true } else { false } }
    /// A request is coming in.
    var isReading: Bool {
        switch phase {
        case .head, .body: true
        case .idle, .computing, .answering, .closing: false
        }
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelActive(context: ChannelHandlerContext) {
        service.httpConnectionOpened(id)
        connections.add(self)
        watch(context.channel)
        context.fireChannelActive()
    }

    func channelInactive(context: ChannelHandlerContext) {
        if case .computing(let exchange, let request) = phase {
            service.metrics.textsDropped[2].add(request.lengths.count)
            abandon(exchange, request)
            service.ended(request.method, .http, .cancelled, since: request.arrival)
        }
        enter(.closing)
        output.drop()
        release()
        connections.remove(self)
        service.httpConnectionClosed(id, reason: closeReason)
        context.fireChannelInactive()
    }

    func received(_ count: Int) {
        service.metrics.receivedBytes[TransportName.http.rawValue].add(count)
        guard case .idle = phase else { return }
        forgetHead()
        enter(.head)
    }

    func sent(_ count: Int) { service.metrics.sentBytes[TransportName.http.rawValue].add(count) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch (Self.unwrapInboundIn(data), phase) {
        case (.head(let head), .idle), (.head(let head), .head): begin(head)
        case (.body(let bytes), .body(let upload)): append(bytes, upload)
        case (.end, .body(let upload)): call(upload)
        default: break  // of a request that is answered already
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard let error = error as? HTTPParserError else { return close(reason: "reset") }
        switch phase {
        case .idle, .head: forgetHead()
        case .body: break
        case .computing, .answering, .closing: return close(reason: "bad_request")
        }
        service.metrics.protocolErrors["bad_request"].add()
        closesAfterwards = true
        if case .headerOverflow = error {
            refuse(HTTPFailure(.requestHeaderFieldsTooLarge, "the head is too large"))
        } else {
            refuse(HTTPFailure(.badRequest, "this is not HTTP as RFC 9112 has it"))
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        output.pump(context)
        context.fireChannelWritabilityChanged()
    }

    func close(reason: String) {
        closeReason = reason
        context?.close(promise: nil)
    }

    /// The end of a drain.
    func closeForDrain() {
        closeReason = "draining"
        switch phase {
        case .computing(_, let request): fail(request, Failure(.unavailable, "the daemon stopped", retryAfter: 1_000))
        case .answering, .closing: closesAfterwards = true
        case .idle, .head, .body: close(reason: "draining")
        }
    }
}

/// From a request to its answer.
extension HTTPConnection {
    /// A worker says something of `request`.
    func finish(_ exchange: HTTPExchange, _ request: Request, _ outcome: RequestOutcome) {
        let bytes = exchange.takeUnownedBytes()
        guard case .computing(let current, _) = phase, current === exchange else {
            return service.admission.account(-bytes)
        }
        heldBytes += bytes
        switch outcome {
        case .answered(let buffers) where monotonicNanoseconds() < request.deadline:
            deadlineTimer?.cancel()
            service.answered(request)
            send(HTTPReply(.ok, json: buffers))
        case .failed(let failure): fail(request, failure)
        case .answered, .letGo: fail(request, Failure(.deadlineExceeded, "the deadline has passed"))
        }
    }

    /// Ends a request under way without its answer.
    func fail(_ request: Request, _ failure: Failure) {
        guard case .computing(let exchange, let current) = phase, current === request else { return }
        if failure.code == .deadlineExceeded { service.metrics.textsDropped[0].add(request.lengths.count) }
        abandon(exchange, request)
        service.ended(request.method, .http, failure.code, since: request.arrival)
        let isAboutTexts = failure.code == .invalidArgument
        send(HTTPFailure(failure, parameter: isAboutTexts ? (family == .openAI ? "input" : "inputs") : nil).reply(family))
    }

    /// Takes a request out of the queue.
    private func abandon(_ exchange: HTTPExchange, _ request: Request) {
        deadlineTimer?.cancel()
        guard !service.scheduler.remove(request, from: queue) else { return }
        // A worker that is still at it holds its memory, and says when it has let go.
        heldBytes -= request.heldBytes
        exchange.leave(request.heldBytes)
    }

    private func release() {
        deadlineTimer?.cancel()
        deadlineTimer = nil
        service.admission.account(-heldBytes)
        heldBytes = 0
        body = []
        guard let method = counted else { return }
        counted = nil
        connections.end(method)
        service.connectionIsQuiet()
    }

    /// Answers before the request is whole: then nothing more can come behind it.
    func refuse(_ failure: HTTPFailure) {
        if hasBody { closesAfterwards = true }
        guard failure.failure.code == .unauthenticated, let loop = context?.eventLoop else { return send(failure.reply(family)) }
        // A wrong token, or none where one is needed: told after a time that says nothing.
        enter(.answering)
        loop.assumeIsolated().scheduleTask(in: .milliseconds(.random(in: 100...200))) { [weak self] in
            if let self { send(failure.reply(family)) }
        }
    }

    func send(_ reply: HTTPReply) {
        guard let context else { return }
        if service.state != .serving { closesAfterwards = true }
        var headers = HTTPHeaders(reply.fields)
        headers.add(name: "content-type", value: reply.type)
        headers.add(name: "content-length", value: String(reply.byteCount))
        if let requestID { headers.add(name: "x-request-id", value: requestID) }
        if closesAfterwards { headers.add(name: "connection", value: "close") }
        enter(.answering)
        let answer = HTTPResponseHead(version: .http1_1, status: reply.status, headers: headers)
        output.start(answer, head.method == .HEAD ? [] : reply.body, context)
    }

    /// The answer is with the kernel: the next request may come.
    private func answerIsSent() {
        guard case .answering = phase, let context else { return }
        release()
        enter(closesAfterwards ? .closing : .idle)
        let closes = closesAfterwards
        context.writeAndFlush(Self.wrapOutboundOut(.end(nil)), promise: nil)
        // Writing first: a reset for what was not read would destroy the answer.
        if closes { context.close(mode: .output, promise: nil) }
    }
}

/// Times.
extension HTTPConnection {
    func enter(_ phase: Phase) {
        self.phase = phase
        since = monotonicNanoseconds()
    }

    /// How long the phase may last: 10 s for a head and 60 s between two, or what the settings for frames and idle
    /// connections allow if that is less.
    private var allowed: UInt64 {
        let configuration = service.configuration
        let idle = configuration.idleTimeout.nanoseconds
        return switch phase {
        case .idle: min(60_000_000_000, idle == 0 ? .max : idle)
        case .head: min(10_000_000_000, configuration.frameTimeout.nanoseconds)
        case .body: configuration.frameTimeout.nanoseconds
        case .computing: .max
        case .answering: configuration.writeStall.nanoseconds
        case .closing: 1_000_000_000
        }
    }

    /// Looks at the time four times a second for as long as the connection lives.
    private func watch(_ channel: any Channel) {
        channel.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(250)) { [self] in
            guard channel.isActive else { return }
            checkTime()
            watch(channel)
        }
    }

    private func checkTime() {
        guard monotonicNanoseconds() - since > allowed else { return }
        switch phase {
        case .body(let upload):
            service.ended(upload.route.method, .http, .deadlineExceeded, since: upload.arrival)
            refuse(HTTPFailure(.requestTimeout, "the body did not come in time", limit: "limits.frame_timeout_ms"))
        case .answering:
            service.slowReader(id, peer: "http")
            close(reason: "slow_reader")
        case .idle, .head: close(reason: "idle")
        case .computing, .closing: close(reason: closeReason)
        }
    }
}
