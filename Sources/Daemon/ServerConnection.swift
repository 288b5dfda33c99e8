import Messages
import Synchronization
import Transport
import Wire

/// One client's connection: drives the protocol's rules with what the socket brings, owns the requests under
/// way, and keeps the connection's times.
///
/// Safe as `Sendable`: everything but `completions` is touched on the connection's I/O queue only.
final class ServerConnection: RequestOwner, @unchecked Sendable {
    let id: UInt64
    let transport: TransportName
    /// Who is on the other side, as logs name it: `uid:N` or the transport's name.
    let peer: String
    unowned let service: Service
    private let lane: Lane
    private let socket: Connection
    private var state: ConnectionState
    private let queue = RequestQueue()
    private var open: [UInt32: Request] = [:]
    /// Requests whose streams have ended while workers still compute for them: their memory is held.
    private var abandoned: [UInt32: Request] = [:]
    private let completions = Mutex<[(Request, RequestOutcome)]>([])

    private let created = monotonicNanoseconds()
    private let maximumAge: UInt64
    private var lastCall: UInt64
    private var frameStarted: UInt64?
    private var pinged: UInt64?
    private var lastFrame: UInt64
    private var frameCount: UInt64 = 0
    /// Payloads and reservations of `open` and `abandoned`, and the reservations alone.
    private var heldBytes = 0, reservedBytes = 0
    private var accounted = 0
    /// The peer is not read for the moment, because of what it makes us hold.
    private var isHeldBack = false
    private var wasQuiet = true
    private var received: UInt64 = 0, sent: UInt64 = 0
    private var inputEnded = false
    private var closeReason: String?
    private(set) var hasOpened = false

    init(
        _ descriptor: Int32, id: UInt64, transport: TransportName, peer: String, lane: Lane, service: Service
    ) {
        self.id = id
        self.transport = transport
        self.peer = peer
        self.lane = lane
        self.service = service
        socket = Connection(Socket(adopting: descriptor), on: lane.ioQueue)
        state = ConnectionState(role: .server, limits: service.wireLimits, hello: service.hello(connection: id))
        // Give or take a tenth, so that connections of one moment do not end in one moment.
        let age = service.configuration.maximumConnectionAge.nanoseconds
        maximumAge = age == 0 ? .max : age / 10 * 9 + UInt64.random(in: 0...(age / 5))
        lastCall = created
        lastFrame = created
    }

    var openedAt: UInt64 { created }
    /// Waits for HELLO, and is not ending either.
    var isInHandshake: Bool { !hasOpened && closeReason == nil }
    /// Bytes that only the peer's next step frees: an unfinished frame and unsent output.
    var stuckBytes: Int { socket.isClosed ? 0 : state.bufferedBytes + socket.outboxBytes }
    var streamCount: Int { open.count }
    var peerMaximumFrameBytes: UInt32 { state.peerMaximumFrameBytes }
    var requestID: String? { nil }

    func start() {
        socket.start(
            onBytes: { [self] in receive($0) },
            onEnd: { [self] in ended($0) },
            onClosed: { [self] in closed() })
    }

    /// Ends the connection with a GOAWAY.
    func close(_ code: StatusCode, reason: String, retryAfter: UInt32 = 0) {
        stopRequests()
        perform(state.close(code, reason: reason, retryAfter: retryAfter))
        settle()
    }

    /// Says GOAWAY 0: first that the daemon will go, then, finally, that later requests are refused.
    func announceDrain(isFinal: Bool) {
        guard closeReason == nil else { return }
        socket.enqueue(SendBuffer(state.drain(isFinal: isFinal)))
        settle()
    }

    /// The end of a drain: what is still under way gets UNAVAILABLE, then the connection closes.
    func closeForDrain() {
        for request in Array(open.values) {
            finish(request, .failed(Failure(.unavailable, "the daemon stopped", retryAfter: 1_000)))
        }
        if closeReason == nil { perform(state.close(.ok, reason: "draining")) }
        settle()
    }

    /// Nothing is under way or unsent.
    var isQuiet: Bool { open.isEmpty && socket.outboxBytes == 0 }

    func encoded(_ answer: Answer, of request: Request) -> [SendBuffer] {
        answer.frame(stream: request.stream, withCRC: request.usesCRC)
    }

    func complete(_ request: Request, _ outcome: RequestOutcome) {
        let isFirst = completions.withLock { completions in
            completions.append((request, outcome))
            return completions.count == 1
        }
        // One turn of the queue takes all that gathers until it runs.
        if isFirst { lane.ioQueue.async { [self] in takeCompletions() } }
    }

    private func takeCompletions() {
        let all = completions.withLock { completions in
            defer { completions.removeAll(keepingCapacity: true) }
            return completions
        }
        for (request, outcome) in all {
            if case .letGo = outcome {
                if abandoned[request.stream] === request { letGo(request) }
            } else {
                finish(request, outcome)
            }
        }
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

    private func perform(_ actions: [ConnectionAction], now: UInt64 = 0) {
        for action in actions {
            switch action {
            case .send(let bytes): socket.enqueue(SendBuffer(bytes))
            case .call(let call): take(call, now)
            case .refused(let stream, let method, let failure):
                sendEnd(of: stream, failure)
                if failure.isRefused { service.refused(failure, conn: id) }
                service.ended(Method(rawValue: method), transport, failure.code, since: now)
            case .cancelled(let stream): cancel(stream)
            case .close(let reason):
                stopRequests()
                if closeReason == nil { closeReason = reason }
                service.connectionViolated(self, reason)
                socket.closeAfterSending()
            case .opened: hasOpened = true
            case .answer, .failed, .goAway: break  // a client's
            }
        }
    }

    private func take(_ call: Call, _ now: UInt64) {
        lastCall = now
        let limits = service.configuration
        let asked = Duration.microseconds(Int64(call.timeoutMicroseconds))
        let time = call.timeoutMicroseconds == 0 ? limits.defaultTimeout : min(asked, limits.maximumTimeout)
        let arrived = Arrival(call: call, time: now, deadline: now + time.nanoseconds)
        do throws(Failure) {
            guard call.method.isQueued else {
                let answer = try service.methods.answer(call, state: service.admission.serviceState)
                try service.admission.checkOutput(
                    answerBytes: answer.message.count, connectionBytes: reservedBytes + socket.outboxBytes)
                send(answer.frame(stream: call.stream, withCRC: call.usesCRC), endOf: call.stream)
                service.ended(call.method, transport, .ok, since: now)
                return
            }
            try service.admission.checkState()
            let request = try service.methods.request(arrived, on: self)
            let clock = monotonicNanoseconds()
            guard clock < arrived.deadline else { throw Failure(.deadlineExceeded, "the deadline has passed") }
            try service.admission.reserve(
                texts: request.lengths.count, pieces: request.estimatedPieceCount,
                answerBytes: request.answerBytes, connectionBytes: reservedBytes + socket.outboxBytes,
                remaining: arrived.deadline - clock)
            open[call.stream] = request
            hold(request, 1)
            // Counted in `reserve`; the next `settle` adds the payload.
            accounted += request.answerBytes
            service.metrics.requestTexts.observe(request.lengths.count)
            service.scheduler.add(request, to: queue)
        } catch {
            if error.isRefused { service.refused(error, conn: id) }
            if state.finish(stream: call.stream) { sendEnd(of: call.stream, error) }
            service.ended(call.method, transport, error.code, since: now)
        }
    }

    /// The terminal frame of a request, unless its stream has ended already.
    private func finish(_ request: Request, _ outcome: RequestOutcome) {
        guard open[request.stream] === request else { return }
        let now = monotonicNanoseconds()
        lastCall = now
        switch outcome {
        case .answered(let buffers) where now < request.deadline:
            open[request.stream] = nil
            hold(request, -1)
            send(buffers, endOf: request.stream)
            service.answered(request)
        case .failed(let failure): fail(request, failure)
        case .answered, .letGo: fail(request, Failure(.deadlineExceeded, "the deadline has passed"))
        }
    }

    private func fail(_ request: Request, _ failure: Failure) {
        if state.finish(stream: request.stream) { sendEnd(of: request.stream, failure) }
        if failure.code == .deadlineExceeded { service.metrics.textsDropped[0].add(request.lengths.count) }
        abandon(request)
        service.ended(request.method, transport, failure.code, since: request.arrival)
    }

    private func sendEnd(of stream: UInt32, _ failure: Failure) {
        socket.enqueue(SendBuffer(ConnectionState.encodedEnd(stream: stream, failure, withCRC: state.usesCRC)))
    }

    /// Takes what is left of a request out of the queue; a worker that is at it stops at its next text.
    private func abandon(_ request: Request) {
        open[request.stream] = nil
        abandoned[request.stream] = request
        if service.scheduler.remove(request, from: queue) { letGo(request) }
    }

    /// Adds what a request holds to the sums, or takes it away.
    private func hold(_ request: Request, _ sign: Int) {
        heldBytes += sign * request.heldBytes
        reservedBytes += sign * request.answerBytes
    }

    private func letGo(_ request: Request) {
        abandoned[request.stream] = nil
        hold(request, -1)
        state.release(stream: request.stream)
    }

    private func send(_ buffers: [SendBuffer], endOf stream: UInt32) {
        guard state.finish(stream: stream) else { return }
        for buffer in buffers { socket.enqueue(buffer) }
    }

    private func cancel(_ stream: UInt32) {
        guard let request = open[stream] else { return state.release(stream: stream) }
        service.metrics.textsDropped[1].add(request.lengths.count)
        abandon(request)
        service.ended(request.method, transport, .cancelled, since: request.arrival)
    }

    /// Nobody is left to answer.
    private func stopRequests() {
        for request in Array(open.values) {
            service.metrics.textsDropped[2].add(request.lengths.count)
            abandon(request)
            service.ended(request.method, transport, .cancelled, since: request.arrival)
        }
    }

    private func ended(_ end: Connection.End) {
        inputEnded = true
        if end == .reset || state.isInsideFrame {
            closeReason = closeReason ?? (end == .reset ? "reset" : "eof")
            stopRequests()
            socket.close()
        }
        settle()
    }

    /// After every event: sends what has gathered, closes what is over, accounts for the memory.
    private func settle() {
        socket.flush()
        if inputEnded, closeReason == nil, isQuiet {
            closeReason = "eof"
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
        service.metrics.receivedBytes[transport.rawValue].add(Int(socket.receivedBytes - received))
        service.metrics.sentBytes[transport.rawValue].add(Int(socket.sentBytes - sent))
        (received, sent) = (socket.receivedBytes, socket.sentBytes)
    }

    /// Leaves the peer's bytes in the kernel while it does not take what is due to it, or while the daemon's buffers
    /// are full and its frame is not whole.
    private func holdBack() {
        guard closeReason == nil, !inputEnded else { return }
        // So that as many connections as there may be do not all begin a large frame now.
        socket.maximumReadBytes = service.admission.isFull ? 4_096 : .max
        let isOver = socket.outboxBytes >= service.configuration.maximumConnectionOutputBytes
            || (state.bufferedBytes > 0 && service.admission.isFull)
        guard isOver != isHeldBack else { return }
        isHeldBack = isOver
        if isOver {
            socket.pauseReading()
        } else {
            // The time was not the peer's.
            if frameStarted != nil { frameStarted = monotonicNanoseconds() }
            socket.resumeReading()
        }
    }

    /// Neither a frame has come whole nor output been taken for a second.
    func isStuck(_ now: UInt64) -> Bool {
        stuckBytes > 0 && now >= max(lastFrame, socket.lastOutputProgress) + 1_000_000_000
    }

    /// Resets the connection, to have back what it holds.
    func evict() {
        if closeReason == nil { closeReason = "evicted" }
        stopRequests()
        socket.close(resets: true)
        settle()
    }

    private func closed() {
        if closeReason == nil { closeReason = "reset" }
        stopRequests()
        settle()
        lane.remove(self, reason: closeReason ?? "reset")
    }

    /// Looks at everything that has a time.
    func tick(_ now: UInt64) {
        socket.tick(now)
        guard closeReason == nil else { return checkStall(now) }
        let limits = service.configuration
        for request in open.values where now >= request.deadline {
            fail(request, Failure(.deadlineExceeded, "the deadline has passed"))
        }
        if let frameStarted, !isHeldBack, now >= frameStarted + limits.frameTimeout.nanoseconds {
            close(.deadlineExceeded, reason: "frame_timeout")
        } else if !state.isOpen, now >= created + limits.handshakeTimeout.nanoseconds {
            close(.deadlineExceeded, reason: "handshake_timeout")
        } else if open.isEmpty, socket.outboxBytes == 0, !state.isInsideFrame {
            checkQuietTimes(now)
        } else {
            checkStall(now)
        }
        if closeReason == nil { keepAlive(now) }
        settle()
    }

    private func checkQuietTimes(_ now: UInt64) {
        let idle = service.configuration.idleTimeout.nanoseconds
        if idle > 0, now >= lastCall + idle {
            close(.ok, reason: "idle")
        } else if now - created >= maximumAge {
            close(.ok, reason: "max_age")
        }
    }

    private func checkStall(_ now: UInt64) {
        guard socket.outboxBytes > 0,
            now >= socket.lastOutputProgress + service.configuration.writeStall.nanoseconds
        else { return }
        closeReason = "slow_reader"
        service.slowReader(id, peer: peer)
        stopRequests()
        socket.close(resets: true)
    }

    private func keepAlive(_ now: UInt64) {
        guard !inputEnded, !isHeldBack else { return }
        if let pinged {
            if now >= pinged + 20_000_000_000 { close(.unavailable, reason: "keep_alive") }
        } else if state.isOpen, now >= socket.lastReceived + 60_000_000_000 {
            pinged = now
            socket.enqueue(SendBuffer(ConnectionState.encodedPing(now, withCRC: state.usesCRC)))
        }
    }
}
