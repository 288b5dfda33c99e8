import NIOCore
import NIOHTTP1
import Transport

/// Answers the four routes.
final class OperationsHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let service: Service
    private let budget: HeadBudget

    init(_ service: Service, _ budget: HeadBudget) {
        self.service = service
        self.budget = budget
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard case .head(let head) = unwrapInboundIn(data) else { return }
        budget.restart()
        if head.headers.count > HeadBudget.maximumFields {
            return send(.init(.requestHeaderFieldsTooLarge, ""), to: head, context, closes: true)
        }
        if let refusal = refusal(ofHost: head) { return send(refusal, to: head, context, closes: true) }
        let hasBody = head.headers.contains(name: "transfer-encoding")
            || head.headers.first(name: "content-length").map { $0 != "0" } ?? false
        if hasBody { return send(.init(.payloadTooLarge, "no route takes a body\n"), to: head, context, closes: true) }
        send(answer(to: head), to: head, context, closes: !head.isKeepAlive)
    }

    /// Without tokens only this machine's own names are served, so that no page in a browser reaches the daemon by a name of
    /// its own that leads here (DNS rebinding); HTTP/1.1 needs the field, once.
    private func refusal(ofHost head: HTTPRequestHead) -> Reply? {
        let hosts = head.headers["host"]
        guard hosts.count == 1 || (hosts.isEmpty && head.version == .http1_0) else {
            return Reply(.badRequest, "one Host is needed\n")
        }
        guard let host = hosts.first else { return nil }
        // Any port will do: the name alone is what a browser cannot forge.
        let endpoint = (try? Endpoint.tcp(parsing: host)) ?? (try? Endpoint.tcp(parsing: "\(host):80"))
        return endpoint?.isLoopback == true ? nil : Reply(.forbidden, "only by the names of this machine's loopback\n")
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    private struct Reply {
        var status: HTTPResponseStatus
        var body: String
        var type = "text/plain; charset=utf-8"
        var allow: String?

        init(_ status: HTTPResponseStatus, _ body: String) {
            self.status = status
            self.body = body
        }
    }

    private func answer(to head: HTTPRequestHead) -> Reply {
        let parts = head.uri.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let path = parts.first.map(String.init) ?? head.uri
        let isVerbose = parts.count > 1 && parts[1].split(separator: "&").contains("verbose")
        guard ["/livez", "/readyz", "/health", "/metrics"].contains(path) else {
            return Reply(.notFound, "no such path\n")
        }
        guard head.method == .GET || head.method == .HEAD else {
            var reply = Reply(.methodNotAllowed, "only GET\n")
            reply.allow = "GET, HEAD"
            return reply
        }
        switch path {
        case "/livez":
            let isAdvancing = service.isAdvancing
            return Reply(isAdvancing ? .ok : .serviceUnavailable, isAdvancing ? "ok\n" : "stuck\n")
        case "/metrics":
            var reply = Reply(.ok, service.metricsPage())
            reply.type = "text/plain; version=0.0.4; charset=utf-8"
            return reply
        default: return readiness(isVerbose)
        }
    }

    private func readiness(_ isVerbose: Bool) -> Reply {
        let state = service.state
        let isReady = state == .serving
        guard isVerbose else { return Reply(isReady ? .ok : .serviceUnavailable, isReady ? "ok\n" : "\(state.label)\n") }
        let isStarted = state != .starting
        let checks = [
            ("model", isStarted), ("self-test", isStarted), ("listeners", isStarted),
            ("not-draining", state == .serving || state == .starting),
        ]
        let lines = checks.map { "[\($0.1 ? "+" : "-")]\($0.0)\n" }.joined()
        return Reply(isReady ? .ok : .serviceUnavailable, lines)
    }

    private func send(_ reply: Reply, to head: HTTPRequestHead, _ context: ChannelHandlerContext, closes: Bool) {
        var headers = HTTPHeaders()
        headers.add(name: "content-type", value: reply.type)
        headers.add(name: "content-length", value: String(reply.body.utf8.count))
        if let allow = reply.allow { headers.add(name: "allow", value: allow) }
        if closes { headers.add(name: "connection", value: "close") }
        let answer = HTTPResponseHead(version: .http1_1, status: reply.status, headers: headers)
        context.write(wrapOutboundOut(.head(answer)), promise: nil)
        if head.method != .HEAD {
            let body = context.channel.allocator.buffer(string: reply.body)
            context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
        }
        let channel = context.channel
        let sent = context.eventLoop.makePromise(of: Void.self)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: sent)
        if closes { sent.futureResult.whenComplete { _ in channel.close(promise: nil) } }
    }
}
