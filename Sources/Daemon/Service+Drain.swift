import Dispatch
import Synchronization
import Transport

/// The end of a daemon's life, in steps (service specification, section 4, "Drain"). Nothing polls: the lame-duck time
/// and the grace are timers, and connections say when they have nothing under way.
extension Service {
    /// After the last frames are sent peers may take so long to read them and close: the linger of a connection, and
    /// two ticks to notice its end.
    private static let lastWords = DispatchTimeInterval.milliseconds(1_200)

    /// Still serving for the lame-duck time, then refusing while what is in flight has its grace. A second call jumps
    /// to the end. Without a grace of its own it has `drain.grace_ms`.
    package func drain(grace: Duration? = nil) {
        drainQueue.async { [self] in
            switch admission.serviceState {
            case .serving, .starting: beginDrain(grace ?? configuration.drainGrace)
            case .lameDuck, .draining: endDrain()
            case .stopped: break
            }
        }
    }

    private func beginDrain(_ grace: Duration) {
        admission.enter(.lameDuck)
        log.write(.drainBegin)
        notifier.stopping()
        announce(isFinal: false)
        drainQueue.asyncAfter(deadline: .now() + .milliseconds(configuration.drainLameDuck.milliseconds)) { [self] in
            guard admission.serviceState == .lameDuck else { return }
            admission.enter(.draining)
            closeListeners()
            announce(isFinal: true)
            drainQueue.asyncAfter(deadline: .now() + .milliseconds(grace.milliseconds)) { [self] in
                endDrain()
            }
            endDrainIfQuiet()
        }
    }

    private func announce(isFinal: Bool) {
        for lane in lanes {
            lane.ioQueue.async { lane.forEach { $0.announceDrain(isFinal: isFinal) } }
        }
    }

    /// A connection has nothing under way any more, or is gone: in a drain it may have been the last.
    func connectionIsQuiet() {
        guard admission.serviceState == .draining else { return }
        drainQueue.async { [self] in endDrainIfQuiet() }
    }

    private func endDrainIfQuiet() {
        guard admission.serviceState == .draining else { return }
        let isHTTPQuiet = operations.withLock { $0?.connections.isQuiet ?? true }
        if isHTTPQuiet, lanes.allSatisfy({ lane in lane.ioQueue.sync { lane.isQuiet } }) { endDrain() }
    }

    /// Ends what is left, and when the connections are gone or have had their time lets the waiting caller go.
    private func endDrain() {
        guard admission.serviceState != .stopped else { return }
        admission.enter(.stopped)
        closeListeners()
        for lane in lanes {
            lane.ioQueue.sync { lane.forEach { $0.closeForDrain() } }
        }
        operations.withLock { $0?.closeConnections() }
        openConnections.notify(queue: drainQueue) { [self] in stop() }
        drainQueue.asyncAfter(deadline: .now() + Self.lastWords) { [self] in stop() }
    }

    private func stop() {
        guard !hasStopped.exchange(true, ordering: .relaxed) else { return }
        for lane in lanes {
            lane.ioQueue.sync { lane.forEach { $0.evict() } }
        }
        _ = openConnections.wait(timeout: .now() + 1)
        jobs.stop()
        scheduler.stop()
        workers.join()
        // What workers said last is heard before anybody may let the service go.
        for lane in lanes { lane.ioQueue.sync {} }
        // Closed outside of the lock, for which the server's own loop may be waiting.
        let server = operations.withLock { server in
            defer { server = nil }
            return server
        }
        server?.close()
        log.write(.drainEnd)
        log.write(.shutdown)
        stopped.signal()
    }

    /// Blocks the calling thread until a drain has ended.
    package func waitUntilStopped() {
        stopped.wait()
        stopped.signal()
    }
}
