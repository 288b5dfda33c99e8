import Dispatch
import Encryption
import Messages
import Synchronization
import Transport
import Wire

/// The connections of one client, opened when calls need them, and the calls that wait for one or for their next attempt
/// (service specification, section 11). A streaming call, too, waits here until a link takes it.
///
/// Safe as `Sendable`: everything mutable is touched on `ioQueue` only, except what the server said, which has a lock.
final class Pool: @unchecked Sendable {
    /// Calls under way on the least loaded connection that make a further one worth while.
    private static let fullLoad = 32
    /// Nanoseconds before the end of `ClientOptions.reconnectTimeout` in which a last attempt to connect is made.
    private static let lastAttempt: UInt64 = 500_000_000

    private let endpoint: Endpoint
    /// Of a `tls` endpoint.
    private let encryption: EncryptionContext?
    private let options: ClientOptions
    let ioQueue: IOQueue
    private var isClosed = false
    /// For connect(2) and the resolver, which block.
    private let connectQueue = DispatchQueue(label: "sae.client.connect")
    private let hello = Mutex<Sae_V1_Hello?>(nil)

    private var links: [ObjectIdentifier: Link] = [:]
    /// The link that greets, or nil while the socket is being connected.
    private var opening: Link?
    private var isConnecting = false
    private var backoff = Backoff()
    private var connectNotBefore: UInt64 = 0
    private var connectFailure: ClientError?
    /// Since when calls wait and there is no connection.
    private var outageBegin: UInt64?
    private var isOutageTold = false
    /// Two lines, because a connection may have room for one kind and not for the other.
    private let waitingCalls = CallLine()
    private let waitingStreams = CallLine()
    /// Calls between two attempts.
    private var resting: [ObjectIdentifier: PendingCall] = [:]
    private var retry: RetryPolicy
    /// What the timer runs to; .max without one.
    private var nextDeadline = UInt64.max
    private var isOpeningCancelled = false
    private var first: (result: CheckedContinuation<Result<Void, ClientError>, Never>, deadline: UInt64)?

    init(_ endpoint: Endpoint, _ encryption: EncryptionContext?, _ options: ClientOptions, on ioQueue: IOQueue) {
        self.endpoint = endpoint
        self.encryption = encryption
        self.options = options
        retry = RetryPolicy(maximumAttempts: options.maximumAttempts)
        self.ioQueue = ioQueue
        ioQueue.everyTick { [weak self] in self?.tick($0) }
    }

    /// How long a streaming call waits for a connection.
    var openingPatience: Duration { max(.seconds(10), options.reconnectTimeout.map { $0 + .seconds(1) } ?? .zero) }

    /// What the server said when it was connected to last.
    var server: Sae_V1_Hello { hello.withLock { $0 } ?? Sae_V1_Hello() }

    /// Opens the first connection, trying again while nobody listens.
    func open(within timeout: Duration) async -> Result<Void, ClientError> {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                ioQueue.async { [self] in
                    first = (continuation, monotonicNanoseconds() + nanoseconds(timeout))
                    if isOpeningCancelled { return finishOpening(.failure(.taskCancelled)) }
                    connect()
                }
            }
        } onCancel: {
            ioQueue.async { [self] in
                isOpeningCancelled = true
                finishOpening(.failure(.taskCancelled))
            }
        }
    }

    func call(_ call: PendingCall) async -> Result<Frame, ClientError> {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                ioQueue.async { [self] in
                    call.result = continuation
                    submit(call)
                }
            }
        } onCancel: {
            ioQueue.async { [self] in
                call.isCancelled = true
                abandon(call, .taskCancelled)
            }
        }
    }

    func close() {
        ioQueue.async { [self] in
            guard !isClosed else { return }
            isClosed = true
            let error = ClientError.closed
            finishOpening(.failure(error))
            let calls = takeWaiting() + Array(resting.values)
            resting = [:]
            for call in calls { call.finish(.failure(error)) }
            let links = Array(links.values) + [opening].compactMap { $0 }
            for link in links { link.end(error, isLoss: false) }
        }
    }

    private func submit(_ call: PendingCall) {
        if call.isCancelled { return call.finish(.failure(.taskCancelled)) }
        guard !isClosed else { return call.finish(.failure(.closed)) }
        wait(call)
        assign()
        expect(call.deadline)
    }

    /// The tick is coarse for those in a hurry: the soonest deadline that passes before long has a timer of its own.
    private func expect(_ deadline: UInt64) {
        let now = monotonicNanoseconds()
        let left = deadline - min(deadline, now)
        guard deadline < nextDeadline, left < 500_000_000 else { return }
        nextDeadline = deadline
        ioQueue.async(after: .nanoseconds(Int64(left))) { [weak self] in
            guard let self, nextDeadline <= deadline else { return }
            nextDeadline = .max
            tick(monotonicNanoseconds())
            if let soonest = soonestDeadline { expect(soonest) }
        }
    }

    private var soonestDeadline: UInt64? {
        let unsent = [waitingCalls, waitingStreams].flatMap(\.calls).lazy.filter { !$0.isOver }.map(\.deadline).min()
        let resting = resting.values.lazy.map(\.deadline).min()
        let underWay = links.values.compactMap(\.soonestDeadline).min()
        return [unsent, resting, underWay].compactMap { $0 }.min()
    }

    /// Gives waiting calls to the least loaded connections, and opens another where that helps.
    func assign() {
        let used = assign(waitingCalls, streaming: false) + assign(waitingStreams, streaming: true)
        for link in used { link.flush() }
        connect()
    }

    /// Empties a line as far as there is room; the connections that were given something.
    private func assign(_ line: CallLine, streaming: Bool) -> [Link] {
        var used: [Link] = []
        while let call = line.first {
            let now = monotonicNanoseconds()
            if call.isOver || call.deadline <= now {
                call.finish(.failure(.expired(connectFailure)))
                line.removeFirst()
                continue
            }
            let free = links.values.filter { $0.hasRoom(streaming: streaming) }
            guard let link = free.min(by: { $0.load < $1.load }) else { break }
            if link.start(call, now: now) {
                line.removeFirst()
                if used.last !== link { used.append(link) }
            }
        }
        return used
    }

    private func wait(_ call: PendingCall) { (call.conversation == nil ? waitingCalls : waitingStreams).append(call) }

    private var isAnyoneWaiting: Bool { waitingCalls.first != nil || waitingStreams.first != nil }

    /// Those who wait, who do so no longer.
    private func takeWaiting() -> [PendingCall] { waitingCalls.takeAll() + waitingStreams.takeAll() }

    /// Drops a call for which somebody stopped waiting, wherever it is.
    private func abandon(_ call: PendingCall, _ error: ClientError) {
        guard !call.isOver else { return }
        call.link?.abandon(call)
        resting[ObjectIdentifier(call)] = nil
        call.finish(.failure(error))
        assign()
    }

    private func tick(_ now: UInt64) {
        opening?.tick(now)
        for link in links.values { link.tick(now) }
        if let first, first.deadline <= now {
            finishOpening(.failure(connectFailure ?? ClientError(.deadlineExceeded, "\(endpoint) does not answer")))
        }
        if let end = outageEnd, end <= now { giveUp() }
        let unsent = waitingCalls.calls + waitingStreams.calls + resting.values
        let late = unsent.filter { $0.deadline <= now }
        for call in late { abandon(call, .expired(connectFailure)) }
    }
}

/// What happens to calls.
extension Pool {
    func callSucceeded() { retry.callSucceeded() }

    /// Makes calls again that may be, after a pause, and fails the others. `wereLost`: with their connection. All methods are
    /// pure, so that whatever was lost may be repeated, once; a streaming call only by whoever makes it, who knows how far it came.
    func callsFailed(_ failures: [(PendingCall, ClientError)], wereLost: Bool) {
        if wereLost, let error = failures.first?.1 { tellOutage(error) }
        let now = monotonicNanoseconds()
        let repeatable = failures.map { call, error in
            if wereLost { return !call.isConversing && !call.wasLost }
            guard error.isRefused, [.unavailable, .resourceExhausted].contains(error.code) else { return false }
            call.refusedSince = call.refusedSince ?? now
            return call.conversation.map { !$0.hasHeard } ?? true
        }
        if repeatable.contains(true) { retry.callFailed() }
        for ((call, error), mayRepeat) in zip(failures, repeatable) where !call.isOver {
            var error = error
            error.followsLoss = call.wasLost
            call.link = nil
            call.wasLost = call.wasLost || wereLost
            let pause = retry.delay(
                afterAttempts: call.attempts, retryAfter: error.retryAfter.map(nanoseconds), jitter: .random(in: -1...1),
                persists: !wereLost && isStillRepeated(call, now))
            guard mayRepeat, !isClosed, let pause, now + pause < call.deadline else {
                call.finish(.failure(error))
                continue
            }
            call.reopen(until: now + pause + nanoseconds(openingPatience))
            resting[ObjectIdentifier(call)] = call
            ioQueue.async(after: .nanoseconds(Int64(pause))) { [weak self] in
                guard let self, resting.removeValue(forKey: ObjectIdentifier(call)) != nil else { return }
                wait(call)
                assign()
            }
        }
    }

    /// Whether a call that was refused is so for less time than `ClientOptions.refusalTimeout`.
    private func isStillRepeated(_ call: PendingCall, _ now: UInt64) -> Bool {
        guard let timeout = options.refusalTimeout, let since = call.refusedSince else { return false }
        return now - since < nanoseconds(timeout)
    }
}

/// What happens to connections.
extension Pool {
    func linkOpened(_ link: Link, _ hello: Sae_V1_Hello) {
        self.hello.withLock { $0 = hello }
        (opening, isConnecting) = (nil, false)
        (backoff, connectFailure, outageBegin) = (Backoff(), nil, nil)
        links[ObjectIdentifier(link)] = link
        if isOutageTold {
            isOutageTold = false
            options.onConnectionChange?(.restored)
        }
        finishOpening(.success(()))
        assign()
    }

    /// `error`: nil for a connection that had nothing left to do.
    func linkEnded(_ link: Link, _ error: ClientError?) {
        links[ObjectIdentifier(link)] = nil
        if opening === link {
            var failure = error ?? ClientError(.unavailable, "the server closed the connection")
            // Whoever waits for TLS has no word for those who do not speak it.
            if case .tcp = endpoint, failure.code == .unavailable, failure.retryAfter == nil {
                failure.message += "; a daemon with a certificate is reached by tls://, and its HTTP port speaks no frames"
            }
            connectFailed(failure)
        }
        connect()
    }

    /// True when a call, or the first caller, would go on sooner with another connection.
    private var wantsConnection: Bool {
        guard !isClosed else { return false }
        if first != nil { return true }
        let usable = links.values.filter(\.isUsable)
        guard usable.count < max(1, options.maximumConnections) else { return false }
        return isAnyoneWaiting || usable.allSatisfy { $0.load >= Self.fullLoad } && !usable.isEmpty
    }

    /// Begins to connect, not before the pause after a failure is over.
    private func connect() {
        let now = monotonicNanoseconds()
        let isOutage = isAnyoneWaiting && !links.values.contains(where: \.isUsable)
        outageBegin = isOutage ? outageBegin ?? now : nil
        guard !isConnecting, wantsConnection else { return }
        isConnecting = true
        guard connectNotBefore > now else { return dial() }
        ioQueue.async(after: .nanoseconds(Int64(connectNotBefore - now))) { [weak self] in self?.dial() }
    }

    private func dial() {
        guard wantsConnection else { return isConnecting = false }
        let (endpoint, timeout) = (endpoint, max(options.connectTimeout, .milliseconds(1)))
        connectQueue.async { [weak self, ioQueue] in
            let result: Result<Int32, TransportError>
            do throws(TransportError) {
                result = .success(try Socket.connecting(to: endpoint, timeout: timeout).release())
            } catch { result = .failure(error) }
            ioQueue.async { [weak self] in
                guard let self else {
                    if case .success(let number) = result { _ = Socket(adopting: number) }
                    return
                }
                dialed(result)
            }
        }
    }

    private func dialed(_ result: Result<Int32, TransportError>) {
        switch result {
        case .success(let number):
            let socket = Socket(adopting: number)
            guard !isClosed else { return }
            let link: Link
            do throws(EncryptionError) {
                link = Link(socket, try session(), on: ioQueue, options, of: self)
            } catch { return connectFailed(ClientError(.internal, error.summary)) }
            opening = link
            link.begin()
        case .failure(let error): connectFailed(ClientError(error))
        }
    }

    /// What a new connection is encrypted by.
    private func session() throws(EncryptionError) -> EncryptedSession? {
        guard let encryption, case .tls(let host, _) = endpoint else { return nil }
        return try EncryptedSession(encryption, speaking: "sae/1", with: host)
    }

    /// Tries again later; an answer that no repetition changes fails everybody who waits.
    private func connectFailed(_ error: ClientError) {
        (opening, isConnecting, connectFailure) = (nil, false, error)
        let pause = backoff.pause(jitter: .random(in: -1...1))
        connectNotBefore = monotonicNanoseconds() + max(pause, error.retryAfter.map(nanoseconds) ?? 0)
        // A last attempt just before the end.
        if error.retryAfter == nil, let end = outageEnd, end > monotonicNanoseconds() + 2 * Self.lastAttempt {
            connectNotBefore = min(connectNotBefore, end - Self.lastAttempt)
        }
        if hello.withLock({ $0 != nil }) { tellOutage(error) }
        if ![.unavailable, .resourceExhausted, .deadlineExceeded].contains(error.code) {
            finishOpening(.failure(error))
            for call in takeWaiting() { call.finish(.failure(error)) }
        }
        connect()
    }

    /// When calls no longer wait for a connection.
    private var outageEnd: UInt64? {
        guard let begin = outageBegin, let timeout = options.reconnectTimeout else { return nil }
        return begin + nanoseconds(timeout)
    }

    /// Says once that there is no connection any more.
    private func tellOutage(_ error: ClientError) {
        guard !isClosed, !isOutageTold, !links.values.contains(where: \.isUsable) else { return }
        isOutageTold = true
        options.onConnectionChange?(.lost(error))
    }

    /// Fails the calls that wait for a connection.
    private func giveUp() {
        guard let timeout = options.reconnectTimeout else { return }
        let cause = connectFailure?.message ?? "\(endpoint) does not answer"
        var error = ClientError(.unavailable, "the server could not be reached again within \(timeout): \(cause)")
        error.isOutage = true
        outageBegin = nil
        for call in takeWaiting() { call.finish(.failure(error)) }
    }

    private func finishOpening(_ result: Result<Void, ClientError>) {
        let waiter = first
        first = nil
        waiter?.result.resume(returning: result)
    }
}

extension ClientError {
    static let taskCancelled = ClientError(.cancelled, "the task was cancelled")
    static let closed = ClientError(.cancelled, "the client was closed")

    /// `cause`: why there is no connection, if that is what the time went by with.
    static func expired(_ cause: ClientError?) -> ClientError {
        ClientError(
            .deadlineExceeded,
            "the call took longer than it was given" + (cause.map { ", without a connection: \($0.message)" } ?? ""))
    }
}

/// Nanoseconds of a duration, at least 0.
func nanoseconds(_ duration: Duration) -> UInt64 {
    let (seconds, attoseconds) = duration.components
    guard seconds >= 0, attoseconds >= 0 else { return 0 }
    return UInt64(min(seconds, 1 << 32)) * 1_000_000_000 + UInt64(attoseconds / 1_000_000_000)
}
