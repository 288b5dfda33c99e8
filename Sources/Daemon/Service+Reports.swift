import Dispatch
import Encryption
import Messages
import Synchronization
import Transport
import Wire

/// What connections report.
extension Service {
    func connectionIsGone(_ id: UInt64, reason: String) {
        connectionCount.wrappingSubtract(1, ordering: .relaxed)
        openConnections.leave()
        connectionIsQuiet()
        metrics.connectionsClosed[reason].add()
        log.write(.connectionClose, [.conn: String(id), .reason: reason])
    }

    /// A handshake that failed, or what came after it was not TLS.
    func encryptionFailed(_ conn: UInt64, peer: String = "unknown", _ error: EncryptionError) {
        if case .untrusted = error {
            metrics.authenticationFailures["certificate"].add()
            log.write(.authenticationFailed, [.conn: String(conn), .peer: peer, .reason: error.summary])
        } else {
            metrics.protocolErrors["tls"].add()
            log.write(.protocolError, [.conn: String(conn), .peer: peer, .reason: error.summary])
        }
    }

    func connectionViolated(_ connection: ServerConnection, _ reason: String) {
        guard Metrics.protocolReasons.contains(reason) else { return }
        metrics.protocolErrors[reason].add()
        log.write(.protocolError, [.conn: String(connection.id), .peer: connection.peer.name, .reason: reason])
    }

    func httpConnectionOpened(_ id: UInt64) {
        openConnections.enter()
        metrics.connectionsOpened[TransportName.http.rawValue].add()
        log.write(.connectionOpen, [.conn: String(id), .peer: "http"])
    }

    func httpConnectionClosed(_ id: UInt64, reason: String) {
        openConnections.leave()
        metrics.connectionsClosed[reason].add()
        log.write(.connectionClose, [.conn: String(id), .reason: reason])
    }

    /// `reason`: a token that is none of ours (or none at all), or a role that is lacking.
    func authenticationFailed(_ conn: UInt64, reason: String, peer: String = "unknown") {
        metrics.authenticationFailures[reason].add()
        log.write(.authenticationFailed, [.conn: String(conn), .peer: peer, .reason: reason])
    }

    func slowReader(_ id: UInt64, peer: String) { log.write(.slowReader, [.conn: String(id), .peer: peer]) }

    func refused(_ failure: Failure, conn: UInt64) {
        let limit = failure.limit.isEmpty ? "state" : failure.limit
        metrics.refusals[limit].add()
        log.write(.refused, [.limit: limit, .code: failure.code.name, .conn: String(conn)])
    }

    /// A call that ended with an answer from a worker.
    func answered(_ request: Request) {
        metrics.queueDuration.observe(request.queueMicroseconds)
        metrics.computeDuration.observe(request.computeMicroseconds)
        let took = ended(request.method, request.connection.transport, .ok, since: request.arrival)
        guard took >= configuration.logSlowRequest || log.takes(.request) else { return }
        var facts: [LogKey: String] = [
            .conn: String(request.connection.id), .stream: String(request.stream),
            .method: request.method.name, .texts: String(request.lengths.count),
            .queueMicroseconds: String(request.queueMicroseconds),
            .computeMicroseconds: String(request.computeMicroseconds),
        ]
        facts[.requestID] = request.connection.requestID
        log.write(took >= configuration.logSlowRequest ? .slowRequest : .request, facts)
    }

    /// A chunk of a stream that was answered: no terminal frame, but times as of a request.
    func chunkAnswered(_ request: Request) {
        metrics.queueDuration.observe(request.queueMicroseconds)
        metrics.computeDuration.observe(request.computeMicroseconds)
    }

    /// Counts a terminal frame; how long the call took.
    @discardableResult
    func ended(_ method: Method?, _ transport: TransportName, _ code: StatusCode, since arrival: UInt64) -> Duration {
        let now = monotonicNanoseconds()
        let nanoseconds = now > arrival ? now - arrival : 0
        metrics.requestEnded(
            method, transport, code: Int(code.rawValue), microseconds: Int(nanoseconds / 1_000))
        return .nanoseconds(Int64(nanoseconds))
    }
}
