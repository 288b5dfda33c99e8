import Transport
import Wire

/// What time does to a connection, and the end of one.
extension ServerConnection {
    private static let expired = Failure(.deadlineExceeded, "the deadline has passed")

    /// Looks at everything that has a time.
    func tick(_ now: UInt64) {
        if now < nextLook, isAtRest, !service.admission.isFull { return }
        socket.tick(now)
        guard closeReason == nil else { return checkStall(now) }
        let limits = service.serving.configuration
        endExpired(now)
        if let frameStarted, !isHeldBack, now >= frameStarted + limits.frameTimeout.nanoseconds {
            close(.deadlineExceeded, reason: "frame_timeout")
        } else if !state.isOpen, now >= created + limits.handshakeTimeout.nanoseconds {
            close(.deadlineExceeded, reason: "handshake_timeout")
        } else if !checkAge(now, limits) {
            checkIdle(now, limits)
            checkStall(now)
        }
        if closeReason == nil {
            keepAlive(now, limits)
            tellJobs()
        }
        settle()
        // Within a second whatever the limits, as a reload may change them.
        let idle = limits.idleTimeout.nanoseconds
        nextLook = min(
            now + 1_000_000_000, socket.lastReceived + limits.keepAlive.nanoseconds, idle > 0 ? lastCall + idle : .max)
    }

    /// Nothing is under way, due or awaited: of what has a time, only its age, its idleness and the next PING are left.
    private var isAtRest: Bool {
        hasOpened && closeReason == nil && frameStarted == nil && pinged == nil && leaveBefore == nil && !inputEnded && !isHeldBack
            && isQuiet && watches.isEmpty && jobStreams.watches.isEmpty
    }

    private func endExpired(_ now: UInt64) {
        for request in open.values where now >= request.deadline { fail(request, Self.expired) }
        for stream in streams.values where now >= stream.deadline { endStream(stream, Self.expired) }
        endExpiredJobStreams(now, Self.expired)
        for (stream, call) in deferred where now >= call.deadline {
            deferred[stream] = nil
            if state.finish(stream: stream) { sendEnd(of: stream, Self.expired) }
            service.ended(call.method, transport, .deadlineExceeded, since: call.arrival)
        }
        for (stream, watch) in watches where now >= watch.deadline {
            watches[stream] = nil
            if state.finish(stream: stream) { sendEnd(of: stream, Self.expired) }
            service.ended(.healthWatch, transport, .deadlineExceeded, since: watch.arrival)
        }
    }

    /// An old connection is told to go; what is under way then has the drain's grace [gRPC A9]. True when it is leaving.
    private func checkAge(_ now: UInt64, _ limits: Configuration) -> Bool {
        guard let leaveBefore else {
            guard now - created >= maximumAge, state.isOpen else { return false }
            if isQuiet, watches.isEmpty, jobStreams.watches.isEmpty, !state.isInsideFrame {
                close(.ok, reason: "max_age")
                return true
            }
            leaveBefore = now + limits.drainGrace.nanoseconds
            socket.enqueue(SendBuffer(state.drain(isFinal: true, reason: "max_age")))
            leave()
            return true
        }
        if isQuiet && !state.isInsideFrame || now >= leaveBefore { closeNow(reason: "max_age") }
        return true
    }

    private func checkIdle(_ now: UInt64, _ limits: Configuration) {
        let idle = limits.idleTimeout.nanoseconds
        if isQuiet, watches.isEmpty, jobStreams.watches.isEmpty, !state.isInsideFrame, idle > 0, now >= lastCall + idle { close(.ok, reason: "idle") }
    }

    private func checkStall(_ now: UInt64) {
        guard socket.outboxBytes > 0,
            now >= socket.lastOutputProgress + service.serving.configuration.writeStall.nanoseconds
        else { return }
        // Nothing can be said to it: the kernel has no room.
        if closeReason == nil {
            stopCalls()
            closeReason = "slow_reader"
        }
        service.slowReader(id, peer: peer.name)
        socket.close(resets: true)
    }

    private func keepAlive(_ now: UInt64, _ limits: Configuration) {
        guard !inputEnded, !isHeldBack else { return }
        if let pinged {
            if now >= pinged + limits.keepAliveTimeout.nanoseconds { close(.unavailable, reason: "keep_alive") }
        } else if state.isOpen, now >= socket.lastReceived + limits.keepAlive.nanoseconds {
            pinged = now
            socket.enqueue(SendBuffer(ConnectionState.encodedPing(now, withCRC: state.usesCRC)))
        }
    }

    /// Says GOAWAY 0: first that the daemon will go, then, finally, that later requests are refused.
    func announceDrain(isFinal: Bool) {
        guard closeReason == nil else { return }
        tellHealth()
        socket.enqueue(SendBuffer(state.drain(isFinal: isFinal)))
        if isFinal { leave() }
        settle()
    }

    /// Watches and streams about jobs end, which clients take up again elsewhere or later, and others once the chunks that have come are answered.
    private func leave() {
        let failure = Failure(.unavailable, "the server ends the connection", retryAfter: 100)
        endWatches(failure)
        endJobStreams(failure)
        for stream in streams.values where !stream.clientIsDone { stream.endReason = stream.endReason ?? failure }
    }

    /// The end of a drain: what is still under way gets UNAVAILABLE, then the connection closes.
    func closeForDrain() { closeNow(reason: "draining") }

    private func closeNow(reason: String) {
        let failure = Failure(.unavailable, "the server ended the connection", retryAfter: 1_000)
        for request in Array(open.values) { finish(request, .failed(failure)) }
        for stream in Array(streams.values) { endStream(stream, failure) }
        endWatches(failure)
        endJobStreams(failure)
        if closeReason == nil { perform(state.close(.ok, reason: reason)) }
        settle()
    }

    /// Leaves the peer's bytes in the kernel while it does not take what is due to it, or while the daemon's buffers
    /// are full and its frame is not whole.
    func holdBack() {
        guard closeReason == nil, !inputEnded else { return }
        // So that as many connections as there may be do not all begin a large frame now.
        let isFull = service.admission.isFull
        socket.maximumReadBytes = isFull ? 4_096 : .max
        let isOver = socket.outboxBytes > 0
            && socket.outboxBytes >= service.serving.configuration.maximumConnectionOutputBytes
            || (state.bufferedBytes > 0 && isFull)
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
}
