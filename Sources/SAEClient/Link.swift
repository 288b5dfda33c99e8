import Encryption
import Messages
import Transport
import Wire

/// One connection to a server, driven by a `ConnectionState`: many calls under way, none that waits. Its pool gives it calls
/// and hears how they end.
///
/// Safe as `Sendable`: everything is touched on the pool's queue only.
final class Link: @unchecked Sendable {
    private weak var pool: Pool?
    private let connection: Connection
    private var state: ConnectionState
    private var inFlight: [UInt32: PendingCall] = [:]
    private let openingDeadline: UInt64
    private var isOpened = false
    private var maximumStreams = 1
    private var maximumStreaming = 1
    /// Streaming calls among those in flight.
    private var streamingLoad = 0
    private var lastPing: UInt64 = 0
    /// Why the server said that it goes.
    private var farewell: ClientError?
    /// No new calls: the server is going away, or the stream ids are used up.
    private var isDraining = false
    private var isOver = false

    /// Silence with calls under way after which the server is asked for a sign of life, and then given up.
    private static let pingAfter: UInt64 = 30_000_000_000
    private static let giveUpAfter: UInt64 = 50_000_000_000

    /// Takes over a connected socket and greets; the pool hears `linkOpened` or `linkEnded`.
    init(_ socket: consuming Socket, _ session: EncryptedSession?, on ioQueue: IOQueue, _ options: ClientOptions, of pool: Pool) {
        self.pool = pool
        var limits = WireLimits()
        limits.maximumFrameBytes = UInt32(Client.maximumFrameBytes)
        limits.initialWindow = UInt32(Client.initialWindow)
        var hello = Sae_V1_Hello()
        hello.software = "sae-swift/1"
        hello.token = options.token
        hello.features = options.usesChecksums ? ConnectionState.crcFeature : 0
        state = ConnectionState(role: .client, limits: limits, hello: hello)
        openingDeadline = monotonicNanoseconds() + nanoseconds(options.connectTimeout)
        connection = Connection(socket, on: ioQueue, encryption: session)
    }

    func begin() {
        connection.start(
            onBytes: { [self] in perform(state.receive($0, now: monotonicNanoseconds())) },
            onEnd: { [self] reason in
                if case .insecure(let error) = reason {
                    end(ClientError(error), isLoss: false)
                } else {
                    end(ClientError(.unavailable, "the server closed the connection"), isLoss: true)
                }
            },
            onClosed: {})
        connection.enqueue(SendBuffer(state.start()))
        connection.flush()
    }

    /// Calls under way.
    var load: Int { inFlight.count }
    var soonestDeadline: UInt64? { inFlight.values.lazy.map(\.deadline).min() }
    /// Whether the server may get calls here at all, now or when others have ended.
    var isUsable: Bool { state.isOpen && !isDraining && !isOver }

    func hasRoom(streaming: Bool) -> Bool {
        isUsable && inFlight.count < maximumStreams && (!streaming || streamingLoad < maximumStreaming)
    }

    /// The call of a stream that has come to its end.
    private func take(_ stream: UInt32) -> PendingCall? {
        guard let call = inFlight.removeValue(forKey: stream) else { return nil }
        if call.conversation != nil { streamingLoad -= 1 }
        return call
    }

    /// Sends a call; false when this connection takes no more. `flush` hands what was sent to the kernel.
    func start(_ call: PendingCall, now: UInt64) -> Bool {
        guard hasRoom(streaming: call.conversation != nil), let stream = state.openStream(call.method.shape) else {
            isDraining = true
            closeIfDrained()
            return false
        }
        call.stream = stream
        call.link = self
        call.attempts += 1
        inFlight[stream] = call
        if call.conversation != nil { streamingLoad += 1 }
        connection.enqueue(SendBuffer(request(call, now: now)))
        if call.conversation != nil { call.begin(Frame(header: FrameHeader(.request, stream: stream), message: [], attachment: [])) }
        return true
    }

    /// Sends a message of a streaming call; false while the server's window has no room for it.
    func send(_ message: [UInt8], _ attachment: [UInt8], of call: PendingCall) -> Bool {
        let count = message.count + attachment.count
        guard let window = state.sendWindow(of: call.stream), count <= window else { return false }
        state.spend(count, on: call.stream)
        var bytes: [UInt8] = []
        FrameEncoder.append(
            FrameHeader(.message, stream: call.stream), message: message, attachment: attachment, withCRC: state.usesCRC, to: &bytes)
        connection.enqueue(SendBuffer(bytes))
        return true
    }

    /// This side of a streaming call says no more.
    func endHalf(of call: PendingCall) {
        var bytes: [UInt8] = []
        FrameEncoder.append(FrameHeader(.end, stream: call.stream), withCRC: state.usesCRC, to: &bytes)
        connection.enqueue(SendBuffer(bytes))
    }

    /// The application has taken a message of a streaming call.
    func consumed(_ bytes: Int, of call: PendingCall, isLast: Bool) {
        guard let credit = state.consume(bytes, of: call.stream, isLast: isLast) else { return }
        connection.enqueue(SendBuffer(credit))
        connection.flush()
    }

    func flush() { connection.flush() }

    /// Forgets a call and tells the server.
    func abandon(_ call: PendingCall) {
        guard take(call.stream) != nil, state.finish(stream: call.stream) else { return }
        let cancel = ConnectionState.encodedCancel(stream: call.stream, withCRC: state.usesCRC)
        connection.enqueue(SendBuffer(cancel))
        connection.flush()
        closeIfDrained()
    }

    func tick(_ now: UInt64) {
        connection.tick(now)
        guard !isOver else { return }
        if !isOpened, now >= openingDeadline {
            return end(ClientError(.deadlineExceeded, "the server did not answer the handshake"), isLoss: false)
        }
        let late = inFlight.values.filter { $0.deadline <= now }
        for call in late {
            abandon(call)
            call.finish(.failure(.expired(nil)))
        }
        if !late.isEmpty { pool?.assign() }
        guard !inFlight.isEmpty else { return }
        let silence = now - min(now, max(connection.lastReceived, connection.lastOutputProgress))
        if silence > Self.giveUpAfter {
            end(ClientError(.unavailable, "the server is silent"), isLoss: true)
        } else if silence > Self.pingAfter, now - lastPing > Self.pingAfter {
            lastPing = now
            connection.enqueue(SendBuffer(ConnectionState.encodedPing(now, withCRC: state.usesCRC)))
            connection.flush()
        }
    }

    /// Ends the connection; the calls under way fail with `error`. `isLoss`: it was the connection's fault.
    func end(_ error: ClientError, isLoss: Bool) {
        guard !isOver else { return }
        isOver = true
        let calls = inFlight.values.sorted { $0.stream < $1.stream }
        (inFlight, streamingLoad) = ([:], 0)
        connection.close()
        let pool = pool
        pool?.linkEnded(self, farewell ?? error)
        pool?.callsFailed(calls.map { ($0, farewell ?? error) }, wereLost: isLoss && farewell == nil)
    }

    private func request(_ call: PendingCall, now: UInt64) -> [UInt8] {
        var header = FrameHeader(.request, stream: call.stream)
        header.flags = call.method.takesMessages ? [] : [.last]
        header.method = call.method.rawValue
        header.argument = call.conversation != nil ? 0 : UInt32(clamping: max(1, (call.deadline - min(call.deadline, now)) / 1_000))
        var bytes: [UInt8] = []
        bytes.reserveCapacity(FrameHeader.byteCount + call.message.count + call.attachment.count)
        FrameEncoder.append(
            header, message: call.message, attachment: call.attachment, withCRC: state.usesCRC, to: &bytes)
        return bytes
    }

    private func perform(_ actions: [ConnectionAction]) {
        /// Calls that end together, as by a GOAWAY, are one failure.
        var failures: [(PendingCall, ClientError)] = []
        for action in actions {
            switch action {
            case .send(let bytes): connection.enqueue(SendBuffer(bytes))
            case .opened(let hello):
                maximumStreams = Int(clamping: max(1, hello.limits["limits.max_streams_per_connection"] ?? 128))
                maximumStreaming = Int(clamping: max(1, hello.limits["limits.max_streaming_per_connection"] ?? 8))
                isOpened = true
                pool?.linkOpened(self, hello)
            case .answer(let frame):
                guard let call = take(frame.header.stream) else { continue }
                pool?.callSucceeded()
                call.finish(.success(frame))
            case .failed(let stream, let failure):
                guard let call = take(stream) else { continue }
                failures.append((call, ClientError(failure)))
            case .goAway(let code, let message):
                isDraining = true
                guard code != .ok else { continue }
                farewell = ClientError(
                    Failure(code, "the server ended the connection: \(message.reason)", retryAfter: message.retryAfterMs))
            case .close(let reason):
                end(ClientError(.unavailable, "the connection ended: \(reason)"), isLoss: false)
            case .message(let stream, let frame): inFlight[stream]?.conversation?.received(frame)
            case .credited(let stream): inFlight[stream]?.conversation?.credited()
            case .ended(let stream):
                guard let call = take(stream) else { continue }
                pool?.callSucceeded()
                call.conversation?.finish(.success(()))
            case .call, .refused, .cancelled, .rejected, .halfClosed: break
            }
        }
        if !failures.isEmpty { pool?.callsFailed(failures, wereLost: false) }
        closeIfDrained()
        pool?.assign()
        connection.flush()
    }

    /// After a GOAWAY the connection ends with its last call.
    private func closeIfDrained() {
        guard isDraining, inFlight.isEmpty, !isOver else { return }
        isOver = true
        connection.close()
        pool?.linkEnded(self, nil)
    }
}
