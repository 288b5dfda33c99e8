import Messages
import Transport
import Wire

/// One call on its way. Touched on the link's queue only, which is what makes it safe as `Sendable`.
final class PendingCall: @unchecked Sendable {
    let method: Method
    let message: [UInt8]
    let attachment: [UInt8]
    let deadline: UInt64
    var stream: UInt32 = 0
    var result: CheckedContinuation<Result<Frame, ClientError>, Never>?
    var isCancelled = false

    init(_ method: Method, message: [UInt8], attachment: [UInt8], deadline: UInt64) {
        self.method = method
        self.message = message
        self.attachment = attachment
        self.deadline = deadline
    }

    func finish(_ outcome: Result<Frame, ClientError>) {
        let continuation = result
        result = nil
        continuation?.resume(returning: outcome)
    }
}

/// One connection to a server: many calls under way, driven by a `ConnectionState` on one I/O queue.
///
/// Safe as `Sendable`: all that changes is touched on `ioQueue` only.
final class Link: @unchecked Sendable {
    private let ioQueue: IOQueue
    private var connection: Connection?
    private var state: ConnectionState
    private var waiting: [PendingCall] = []
    private var waitingHead = 0
    private var inFlight: [UInt32: PendingCall] = [:]
    private var opening: CheckedContinuation<Result<Sae_V1_Hello, ClientError>, Never>?
    private var openingDeadline: UInt64 = 0
    private var maximumStreams = 1
    private var lastPing: UInt64 = 0
    private var failure: ClientError?

    /// Silence with calls under way after which the server is asked for a sign of life, and then given up.
    private static let pingAfter: UInt64 = 30_000_000_000
    private static let giveUpAfter: UInt64 = 50_000_000_000

    init(token: String, usesChecksums: Bool, maximumFrameBytes: UInt32, on ioQueue: IOQueue) {
        var limits = WireLimits()
        limits.maximumFrameBytes = maximumFrameBytes
        var hello = Sae_V1_Hello()
        hello.software = "sae-swift/1"
        hello.token = token
        hello.features = usesChecksums ? ConnectionState.crcFeature : 0
        state = ConnectionState(role: .client, limits: limits, hello: hello)
        self.ioQueue = ioQueue
        ioQueue.everyTick { [weak self] in self?.tick($0) }
    }

    /// Connects and shakes hands.
    func open(_ endpoint: Endpoint, timeout: Duration) async -> Result<Sae_V1_Hello, ClientError> {
        await withCheckedContinuation { continuation in
            ioQueue.async { [self] in
                opening = continuation
                openingDeadline = monotonicNanoseconds() + nanoseconds(timeout)
                do throws(TransportError) {
                    let socket = try Socket.connecting(to: endpoint, timeout: max(timeout, .milliseconds(1)))
                    begin(socket)
                } catch {
                    end(ClientError(.unavailable, error.summary, isRefused: true))
                }
            }
        }
    }

    func call(_ pending: PendingCall) async -> Result<Frame, ClientError> {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                ioQueue.async { [self] in
                    pending.result = continuation
                    start(pending)
                }
            }
        } onCancel: {
            ioQueue.async { [self] in
                pending.isCancelled = true
                abandon(pending, ClientError(.cancelled, "the task was cancelled"))
            }
        }
    }

    func close() {
        ioQueue.async { [self] in
            end(ClientError(.cancelled, "the client was closed"))
        }
    }

    private func begin(_ socket: consuming Socket) {
        if let failure { return end(failure) }
        let connection = Connection(socket, on: ioQueue)
        self.connection = connection
        connection.start(
            onBytes: { [self] in perform(state.receive($0, now: monotonicNanoseconds())) },
            onEnd: { [self] _ in end(ClientError(.unavailable, "the server closed the connection")) },
            onClosed: {})
        connection.enqueue(SendBuffer(state.start()))
        connection.flush()
    }

    private func start(_ pending: PendingCall) {
        if pending.isCancelled {
            return pending.finish(.failure(ClientError(.cancelled, "the task was cancelled")))
        }
        if let failure { return pending.finish(.failure(failure)) }
        waiting.append(pending)
        startWaiting()
        connection?.flush()
    }

    /// Opens streams for those that wait, as far as the server allows.
    private func startWaiting() {
        while waitingHead < waiting.count, inFlight.count < maximumStreams, state.isOpen {
            let pending = waiting[waitingHead]
            waitingHead += 1
            guard pending.result != nil else { continue }
            let now = monotonicNanoseconds()
            guard pending.deadline > now else { pending.finish(.failure(Self.expired)); continue }
            guard let stream = state.openStream() else {
                let refusal = ClientError(.unavailable, "the server takes no more calls on this connection", isRefused: true)
                pending.finish(.failure(refusal))
                continue
            }
            pending.stream = stream
            inFlight[stream] = pending
            connection?.enqueue(SendBuffer(request(pending, now: now)))
        }
        if waitingHead == waiting.count {
            waiting.removeAll(keepingCapacity: true)
            waitingHead = 0
        }
    }

    private func request(_ pending: PendingCall, now: UInt64) -> [UInt8] {
        var header = FrameHeader(.request, stream: pending.stream)
        header.flags = [.last]
        header.method = pending.method.rawValue
        header.argument = UInt32(clamping: max(1, (pending.deadline - now) / 1_000))
        var bytes: [UInt8] = []
        bytes.reserveCapacity(FrameHeader.byteCount + pending.message.count + pending.attachment.count)
        FrameEncoder.append(
            header, message: pending.message, attachment: pending.attachment, withCRC: state.usesCRC, to: &bytes)
        return bytes
    }

    private func perform(_ actions: [ConnectionAction]) {
        for action in actions {
            switch action {
            case .send(let bytes): connection?.enqueue(SendBuffer(bytes))
            case .opened(let hello):
                maximumStreams = Int(clamping: max(1, hello.limits["limits.max_streams_per_connection"] ?? 128))
                let continuation = opening
                opening = nil
                continuation?.resume(returning: .success(hello))
            case .answer(let frame):
                inFlight.removeValue(forKey: frame.header.stream)?.finish(.success(frame))
            case .failed(let stream, let failure):
                inFlight.removeValue(forKey: stream)?.finish(.failure(ClientError(failure)))
            case .goAway(let code, let message):
                guard code != .ok else { continue }
                failure = ClientError(
                    Failure(code, "the server ended the connection: \(message.reason)", retryAfter: message.retryAfterMs))
            case .close(let reason):
                end(failure ?? ClientError(.unavailable, "the connection ended: \(reason)"))
            case .call, .refused, .cancelled: break
            }
        }
        startWaiting()
        connection?.flush()
    }

    /// Forgets a call and tells the server.
    private func abandon(_ pending: PendingCall, _ error: ClientError) {
        guard pending.result != nil else { return }
        if inFlight.removeValue(forKey: pending.stream) != nil, state.finish(stream: pending.stream) {
            let cancel = ConnectionState.encodedCancel(stream: pending.stream, withCRC: state.usesCRC)
            connection?.enqueue(SendBuffer(cancel))
            startWaiting()
            connection?.flush()
        }
        pending.finish(.failure(error))
    }

    private func tick(_ now: UInt64) {
        guard let connection else { return }
        connection.tick(now)
        if opening != nil, now >= openingDeadline {
            return end(ClientError(.deadlineExceeded, "the server did not answer the handshake"))
        }
        for pending in inFlight.values where pending.deadline <= now { abandon(pending, Self.expired) }
        for pending in waiting[waitingHead...] where pending.deadline <= now { pending.finish(.failure(Self.expired)) }
        guard !inFlight.isEmpty, failure == nil else { return }
        let silence = now - min(now, max(connection.lastReceived, connection.lastOutputProgress))
        if silence > Self.giveUpAfter {
            end(ClientError(.unavailable, "the server is silent"))
        } else if silence > Self.pingAfter, now - lastPing > Self.pingAfter {
            lastPing = now
            connection.enqueue(SendBuffer(ConnectionState.encodedPing(now, withCRC: state.usesCRC)))
            connection.flush()
        }
    }

    /// Ends everything with `error`; later calls get it too.
    private func end(_ error: ClientError) {
        let cause = failure ?? error
        failure = cause
        let continuation = opening
        opening = nil
        continuation?.resume(returning: .failure(cause))
        let calls = Array(inFlight.values) + waiting[waitingHead...]
        inFlight = [:]
        waiting = []
        waitingHead = 0
        for call in calls { call.finish(.failure(cause)) }
        connection?.close()
        connection = nil
    }

    private static let expired = ClientError(.deadlineExceeded, "the call took longer than it was given")
}

/// Nanoseconds of a duration, at least 0.
func nanoseconds(_ duration: Duration) -> UInt64 {
    let (seconds, attoseconds) = duration.components
    guard seconds >= 0, attoseconds >= 0 else { return 0 }
    return UInt64(min(seconds, 1 << 32)) * 1_000_000_000 + UInt64(attoseconds / 1_000_000_000)
}
