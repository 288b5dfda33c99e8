import NIOCore
import NIOHTTP1
import Transport
import Wire

/// From a head to a request.
extension HTTPConnection {
    /// What is known of the request before belongs to it alone.
    func forgetHead() {
        head = HTTPRequestHead(version: .http1_1, method: .GET, uri: "/")
        family = .plain
    }

    func begin(_ head: HTTPRequestHead) {
        self.head = head
        closesAfterwards = !head.isKeepAlive
        let (authority, target) = Self.parts(of: head.uri)
        let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let path = parts.first.map(String.init) ?? ""
        let found = HTTPRoute(rawValue: path).flatMap { $0.isAPI && !service.configuration.httpAPI ? nil : $0 }
        family = found?.family ?? HTTPRoute.Family(ofPath: path)
        let now = monotonicNanoseconds()
        do throws(HTTPFailure) {
            try checkHost(authority)
            try checkAccess(found)
            guard let route = found else { throw HTTPFailure(Failure(.notFound, "no such path")) }
            guard route.takes(head.method) else {
                var failure = HTTPFailure(.methodNotAllowed, "only \(route.allowed)")
                failure.allow = route.allowed
                throw failure
            }
            guard route.takesBody else {
                guard !hasBody else { throw HTTPFailure(.payloadTooLarge, "this route takes no body") }
                let isVerbose = parts.count > 1 && parts[1].split(separator: "&").contains("verbose")
                send(service.reply(to: route, isVerbose: isVerbose))
                if route.isAPI { service.ended(.info, .http, .ok, since: now) }
                return
            }
            try checkBody()
            let time = try timeout()
            enter(.body(Upload(route: route, arrival: now, deadline: now + time.nanoseconds)))
            if head.headers[canonicalForm: "expect"].contains("100-continue") {
                context?.writeAndFlush(
                    Self.wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: .continue))), promise: nil)
            }
        } catch {
            if found?.takesBody ?? false { service.ended(nil, .http, error.failure.code, since: now) }
            refuse(error)
        }
    }

    /// A target in absolute form, `http://HOST/PATH`, as for a proxy, is the HOST that counts and the path [RFC 9112, 3.2.2].
    private static func parts(of uri: String) -> (authority: String?, target: Substring) {
        let scheme = uri.prefix(8).lowercased()
        guard let length = ["http://", "https://"].first(where: scheme.hasPrefix)?.count else { return (nil, uri[...]) }
        let rest = uri.dropFirst(length)
        let end = rest.firstIndex { "/?#".contains($0) } ?? rest.endIndex
        return (String(rest[..<end]), rest[end...].hasPrefix("/") ? rest[end...] : "/" + rest[end...])
    }

    /// Each request shows its token anew, so that a reload's tokens hold from the next one on. Probes need none.
    private func checkAccess(_ route: HTTPRoute?) throws(HTTPFailure) {
        if let route, !route.needsAccess { return }
        let fields = head.headers["authorization"]
        let parts = fields.first?.split(separator: " ", maxSplits: 1) ?? []
        let token = parts.count == 2 && parts[0].lowercased() == "bearer" ? String(parts[1]) : ""
        guard fields.count <= 1, let peer = service.serving.access.peer(offering: token, uid: nil) else {
            closesAfterwards = true
            service.authenticationFailed(id, reason: "token")
            throw HTTPFailure(Failure(.unauthenticated, "a token of this daemon is needed: Authorization: Bearer TOKEN"))
        }
        guard let route else { return }
        do throws(Failure) { try peer.check(route.role, for: route.rawValue) } catch {
            service.authenticationFailed(id, reason: "role", peer: peer.name)
            throw HTTPFailure(error)
        }
    }

    /// Without tokens only this machine's own names are served, so that no page in a browser reaches the daemon by a name of
    /// its own that leads here (DNS rebinding); HTTP/1.1 needs the field, once.
    private func checkHost(_ authority: String?) throws(HTTPFailure) {
        let hosts = head.headers["host"]
        guard hosts.count == 1 || (hosts.isEmpty && head.version == .http1_0) else {
            closesAfterwards = true
            throw HTTPFailure(.badRequest, "one Host is needed")
        }
        guard let host = (authority ?? hosts.first)?.lowercased(), service.serving.access.tokens == nil else { return }
        // Any port will do: the name alone is what a browser cannot forge.
        let endpoint = (try? Endpoint.tcp(parsing: host)) ?? (try? Endpoint.tcp(parsing: "\(host):80"))
        guard endpoint?.isLoopback == true else {
            closesAfterwards = true
            throw HTTPFailure(Failure(.permissionDenied, "only by the names of this machine's loopback"))
        }
    }

    var hasBody: Bool {
        head.headers.contains(name: "transfer-encoding")
            || head.headers.first(name: "content-length").map { $0 != "0" } ?? false
    }

    private func checkBody() throws(HTTPFailure) {
        let type = (head.headers.first(name: "content-type") ?? "").lowercased().filter { $0 != " " && $0 != "\"" }.split(separator: ";")
        let charsets = type.dropFirst().filter { $0.hasPrefix("charset=") }
        guard type.first == "application/json", charsets.allSatisfy({ $0 == "charset=utf-8" || $0 == "charset=us-ascii" }) else {
            throw HTTPFailure(.unsupportedMediaType, "Content-Type must be application/json, in UTF-8")
        }
        guard head.headers["content-encoding"].allSatisfy({ $0.lowercased() == "identity" }) else {
            throw HTTPFailure(.unsupportedMediaType, "Content-Encoding is not taken: send the JSON as it is")
        }
        guard !head.headers.contains(name: "transfer-encoding"),
            let length = head.headers.first(name: "content-length").flatMap(Int.init)
        else { throw HTTPFailure(.lengthRequired, "Content-Length is needed, and Transfer-Encoding is not taken") }
        let limit = service.configuration.maximumHTTPBodyBytes
        guard length <= limit else {
            throw HTTPFailure(.payloadTooLarge, "the body is over the limit", limit: "http.max_body_bytes", value: UInt64(limit))
        }
    }

    /// What the client gives, or else the daemon's default.
    private func timeout() throws(HTTPFailure) -> Duration {
        let configuration = service.configuration
        guard let text = head.headers.first(name: "x-sae-timeout-ms") else { return configuration.defaultTimeout }
        guard let milliseconds = Int(text), 1...Int(Int32.max) ~= milliseconds else {
            throw HTTPFailure(.badRequest, "X-Sae-Timeout-Ms must be a whole number of milliseconds, at least 1")
        }
        return min(.milliseconds(milliseconds), configuration.maximumTimeout)
    }

    var requestID: String? {
        head.headers.first(name: "x-request-id").flatMap { id in
            id.utf8.count <= 64 && id.utf8.allSatisfy { 0x21...0x7e ~= $0 } ? id : nil
        }
    }

    func append(_ bytes: ByteBuffer, _ upload: Upload) {
        do throws(Failure) {
            try service.admission.extend(by: bytes.readableBytes)
            heldBytes += bytes.readableBytes
            body.append(contentsOf: bytes.readableBytesView)
        } catch {
            service.refused(error, conn: id)
            service.ended(nil, .http, error.code, since: upload.arrival)
            refuse(HTTPFailure(error))
        }
    }

    func call(_ upload: Upload) {
        defer { body = [] }
        do throws(HTTPFailure) {
            let wanted = try APIRequest(
                upload.route, body, maximumTexts: service.configuration.maximumTextsPerRequest,
                dimensions: service.methods.dimensions)
            do throws(Failure) { try start(wanted, upload) } catch { throw HTTPFailure(error) }
        } catch {
            if error.failure.isRefused { service.refused(error.failure, conn: id) }
            service.ended(upload.route.method, .http, error.failure.code, since: upload.arrival)
            send(error.reply(family))
        }
    }

    /// Past the gate that frames pass, to the workers.
    private func start(_ wanted: APIRequest, _ upload: Upload) throws(Failure) {
        guard let loop = context?.eventLoop else { return }
        try service.admission.checkState()
        let exchange = HTTPExchange(self, on: loop, service, requestID: requestID, shape: wanted.shape)
        let arrived = Arrival(
            call: wanted.call, time: upload.arrival, deadline: upload.deadline, renderedBytes: wanted.answerBytes)
        let request = try service.methods.request(arrived, on: exchange)
        let now = monotonicNanoseconds()
        // What a worker says of it comes by way of this loop, and so later than what follows.
        try service.admission.admit(request, to: queue, connectionBytes: 0)
        service.admission.account(request.heldBytes - request.answerBytes - heldBytes)
        heldBytes = request.heldBytes
        enter(.computing(exchange, request))
        counted = request.method
        connections.begin(request.method)
        service.metrics.requestTexts.observe(request.lengths.count)
        deadlineTimer = loop.assumeIsolated().scheduleTask(in: .nanoseconds(Int64(upload.deadline - now))) { [self] in
            fail(request, Failure(.deadlineExceeded, "the deadline has passed"))
        }
    }
}
