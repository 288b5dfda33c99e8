import Encryption
import Messages
import Synchronization
import Transport
import Wire

/// One client's connection: drives the protocol's rules with what the socket brings, owns the calls under way, and keeps
/// the connection's times.
///
/// Safe as `Sendable`: everything but `completions` is touched on the connection's I/O queue only.
final class ServerConnection: RequestOwner, @unchecked Sendable {
    let id: UInt64
    let transport: TransportName
    /// Of a Unix socket's peer.
    let uid: UInt32?
    /// Known once it is let in.
    private(set) var peer = Peer(name: "unknown", roles: [])
    unowned let service: Service
    let lane: Lane
    let socket: Connection
    let session: EncryptedSession?
    var state: ConnectionState
    let queue = RequestQueue()
    /// The unary calls that workers compute, by stream; those that the service answers; and the streaming ones.
    var open: [UInt32: Request] = [:]
    var deferred: [UInt32: DeferredCall] = [:]
    var watches: [UInt32: HealthWatch] = [:]
    var streams: [UInt32: EmbedStream] = [:]
    var jobStreams = JobStreams()
    /// Requests whose streams have ended while workers still compute for them: their memory is held.
    var abandoned: [ObjectIdentifier: Request] = [:]
    let completions = Mutex<[(Request, RequestOutcome)]>([])

    let created = monotonicNanoseconds()
    let maximumAge: UInt64
    var lastCall: UInt64
    var frameStarted: UInt64?
    var pinged: UInt64?
    var lastFrame: UInt64
    /// When the times of a connection at rest are looked at again.
    var nextLook: UInt64 = 0
    /// When a connection that has been told to go is closed, whatever is under way.
    var leaveBefore: UInt64?
    private var frameCount: UInt64 = 0
    /// Payloads and reservations of what is open and abandoned, and the reservations alone.
    var heldBytes = 0, reservedBytes = 0
    var accounted = 0
    /// The peer is not read for the moment, because of what it makes us hold.
    var isHeldBack = false
    private var wasQuiet = true
    private var received: UInt64 = 0, sent: UInt64 = 0
    private(set) var inputEnded = false
    var closeReason: String?
    private(set) var hasOpened = false

    init(
        _ socket: consuming Socket, _ session: EncryptedSession?, id: UInt64, transport: TransportName, lane: Lane,
        service: Service
    ) {
        self.id = id
        self.transport = transport
        uid = transport == .unix ? Access.uid(of: socket.number) : nil
        self.lane = lane
        self.service = service
        self.session = session
        self.socket = Connection(socket, on: lane.ioQueue, encryption: session)
        let hello = service.hello(connection: id)
        state = ConnectionState(role: .server, limits: service.wireLimits, hello: hello)
        // Give or take a tenth, so that connections of one moment do not end in one moment.
        let age = service.configuration.maximumConnectionAge.nanoseconds
        maximumAge = age == 0 ? .max : age / 10 * 9 + UInt64.random(in: 0...(age / 5))
        lastCall = created
        lastFrame = created
        state.admit = { [unowned self] hello in
            guard let peer = service.serving.access.peer(offering: hello.token, uid: uid) else { return nil }
            self.peer = peer
            return peer.roles.names
        }
    }

    /// Waits for HELLO, and is not ending either.
    var isInHandshake: Bool { !hasOpened && closeReason == nil }
    /// Bytes that only the peer's next step frees: an unfinished frame and unsent output.
    var stuckBytes: Int { socket.isClosed ? 0 : state.bufferedBytes + socket.outboxBytes }
    var streamCount: Int { open.count + deferred.count + watches.count + streams.count + jobStreams.count }
    /// Adds the calls under way, by method.
    func countCalls(_ counts: inout [Method: Int]) {
        for request in open.values { counts[request.method, default: 0] += 1 }
        for call in deferred.values { counts[call.method, default: 0] += 1 }
        counts[.healthWatch, default: 0] += watches.count
        counts[.embedStream, default: 0] += streams.count
        counts[.putJobInput, default: 0] += jobStreams.uploads.count
        counts[.getJobOutput, default: 0] += jobStreams.downloads.count
        counts[.watchJob, default: 0] += jobStreams.watches.count
    }
    var peerMaximumFrameBytes: UInt32 { state.peerMaximumFrameBytes }
    var requestID: String? { nil }
    /// Nothing is under way or unsent. A watch of the daemon's health does not count: it never ends by itself.
    var isQuiet: Bool {
        open.isEmpty && deferred.isEmpty && streams.isEmpty && jobStreams.isQuiet && socket.outboxBytes == 0
    }

    func start() {
        socket.start(
            onBytes: { [self] in receive($0) },
            onEnd: { [self] in ended($0) },
            onClosed: { [self] in closed() },
            onDrained: { [self] in if !jobStreams.downloads.isEmpty { settle() } })
    }

    /// Ends the connection with a GOAWAY.
    func close(_ code: StatusCode, reason: String, retryAfter: UInt32 = 0) {
        stopCalls()
        perform(state.close(code, reason: reason, retryAfter: retryAfter))
        settle()
    }

    private func receive(_ bytes: UnsafeRawBufferPointer) {
        let now = monotonicNanoseconds()
        pinged = nil
        perform(state.receive(bytes, now: now), now: now)
        let isNew = state.frameCount != frameCount
        if isNew {
            frameCount = state.frameCount
            lastFrame = now
        }
        if !state.isInsideFrame {
            frameStarted = nil
        } else if frameStarted == nil || isNew {
            frameStarted = now
        }
        settle()
    }

    func perform(_ actions: [ConnectionAction], now: UInt64 = 0) {
        for action in actions {
            switch action {
            case .send(let bytes): socket.enqueue(SendBuffer(bytes))
            case .call(let call): take(call, now)
            case .message(let stream, let frame): take(frame, of: stream, now)
            case .halfClosed(let stream): halfClosed(stream)
            case .credited(let stream): credited(stream)
            case .refused(let stream, let method, let failure):
                sendEnd(of: stream, failure)
                if failure.isRefused { service.refused(failure, conn: id) }
                service.ended(Method(rawValue: method), transport, failure.code, since: now)
            case .cancelled(let stream): cancel(stream)
            case .close(let reason):
                stopCalls()
                if closeReason == nil { closeReason = reason }
                service.connectionViolated(self, reason)
                socket.closeAfterSending()
            case .rejected: reject()
            case .opened: hasOpened = true
            case .answer, .failed, .ended, .goAway: break  // a client's
            }
        }
    }

    private func ended(_ end: Connection.End) {
        inputEnded = true
        if case .insecure(let error) = end {
            closeReason = closeReason ?? "tls"
            stopCalls()
            service.encryptionFailed(id, peer: peer.name, error)
            socket.closeAfterSending()
        } else if end == .reset || state.isInsideFrame {
            closeReason = closeReason ?? (end == .reset ? "reset" : "eof")
            stopCalls()
            socket.close()
        } else {
            // What waits for more of the client waits in vain.
            let failure = Failure(.cancelled, "the client's input ended in the midst of a stream")
            for stream in Array(streams.values) where !stream.clientIsDone { endStream(stream, failure) }
            for (stream, upload) in jobStreams.uploads where !upload.progress.withLock(\.clientIsDone) { endJobStream(stream, failure) }
        }
        settle()
    }

    /// After every event: sends what has gathered, closes what is over, accounts for the memory.
    func settle() {
        if !streams.isEmpty { resumeStreams() }
        if !jobStreams.downloads.isEmpty { resumeDownloads() }
        socket.flush()
        if inputEnded, closeReason == nil, isQuiet {
            closeReason = "eof"
            stopCalls()
            socket.closeAfterSending()
        }
        let holds = heldBytes + stuckBytes
        if holds != accounted {
            service.admission.account(holds - accounted)
            accounted = holds
        }
        holdBack()
        if isQuiet != wasQuiet {
            wasQuiet = isQuiet
            if isQuiet { service.connectionIsQuiet() }
        }
        if socket.receivedBytes != received {
            service.metrics.receivedBytes[transport.rawValue].add(Int(socket.receivedBytes - received))
            received = socket.receivedBytes
        }
        if socket.sentBytes != sent {
            service.metrics.sentBytes[transport.rawValue].add(Int(socket.sentBytes - sent))
            sent = socket.sentBytes
        }
    }

    /// A wrong token, or none where one is needed: told after a time that says nothing.
    private func reject() {
        service.authenticationFailed(id, reason: "token")
        lane.ioQueue.async(after: .milliseconds(.random(in: 100...200))) { [weak self] in
            self?.close(.unauthenticated, reason: "unauthenticated")
        }
    }

    /// After a reload: who is here by a token that is no more, or by a certificate of authorities that were replaced
    /// (`encryption`: those that are new), must come again.
    func checkAccess(_ encryption: EncryptionContext?) {
        guard closeReason == nil else { return }
        let isTrusted = encryption.map { session?.isTrusted(by: $0) ?? true } ?? true
        if !isTrusted || !service.serving.access.stillAdmits(peer) { close(.unauthenticated, reason: "unauthenticated") }
    }

    /// Resets the connection, to have back what it holds.
    func evict() {
        if closeReason == nil { closeReason = "evicted" }
        stopCalls()
        socket.close(resets: true)
        settle()
    }

    private func closed() {
        if closeReason == nil { closeReason = "reset" }
        stopCalls()
        settle()
        lane.remove(self, reason: closeReason ?? "reset")
    }
}
