import Glibc

/// A connected stream socket on one I/O queue: bounded reads in, a bounded backlog out, nothing that blocks.
///
/// Every member is used on `ioQueue` only; that is what makes the class safe as `Sendable`.
package final class Connection: DescriptorOwner, @unchecked Sendable {
    /// Why no more bytes will come in.
    package enum End: Sendable, Equatable { case endOfInput, reset }

    package let ioQueue: IOQueue
    private let descriptor: Int32
    private var watch: Watch?
    private var isClosing = false
    private var inputEnded = false
    private var outbox: [SendBuffer] = []
    private var outboxHead = 0
    private var closesWhenSent = false
    private var drainedBytes = 0
    private var lingerDeadline: UInt64?

    private var onBytes: ((UnsafeRawBufferPointer) -> Void)?
    private var onEnd: ((End) -> Void)?
    private var onClosed: (() -> Void)?

    /// Bytes accepted for sending and not yet taken by the kernel.
    package private(set) var outboxBytes = 0
    /// Most bytes of one read, beside `IOQueue.readBytes`.
    package var maximumReadBytes = Int.max
    package private(set) var receivedBytes: UInt64 = 0
    package private(set) var sentBytes: UInt64 = 0
    package private(set) var lastReceived: UInt64
    /// When the kernel last took output, or when the outbox last became non-empty.
    package private(set) var lastOutputProgress: UInt64
    package private(set) var isClosed = false

    /// Takes over a non-blocking socket.
    package init(_ socket: consuming Socket, on ioQueue: IOQueue) {
        self.ioQueue = ioQueue
        descriptor = socket.release()
        lastReceived = monotonicNanoseconds()
        lastOutputProgress = lastReceived
    }

    /// Begins to read. `onBytes` gets each read's bytes, valid during the call; `onEnd` comes once; `onClosed`
    /// when the descriptor is gone. The three closures are dropped at the close.
    package func start(
        onBytes: @escaping (UnsafeRawBufferPointer) -> Void,
        onEnd: @escaping (End) -> Void,
        onClosed: @escaping () -> Void
    ) {
        precondition(ioQueue.isCurrent, "a connection begins on its I/O queue")
        self.onBytes = onBytes
        self.onEnd = onEnd
        self.onClosed = onClosed
        watch = ioQueue.watch(descriptor, for: .readable, self)
    }

    /// Adds to the outbox without a system call; `flush` sends what has gathered.
    package func enqueue(_ buffer: SendBuffer) {
        guard !isClosed, !isClosing, buffer.count > 0 else { return }
        if outboxBytes == 0 { lastOutputProgress = monotonicNanoseconds() }
        outbox.append(buffer)
        outboxBytes += buffer.count
    }

    /// Hands as much as the kernel takes to it, in as few calls as possible.
    package func flush() {
        guard !isClosed, !isClosing, outboxBytes > 0, !waits(for: .writable) else { return }
        writeOnce()
    }

    /// Stops reading for the moment: the kernel's buffer then holds the peer back.
    package func pauseReading() { wait(for: .readable, false) }

    package func resumeReading() {
        if !inputEnded { wait(for: .readable, true) }
    }

    private func waits(for readiness: Readiness) -> Bool { watch?.interest.contains(readiness) ?? false }

    private func wait(for readiness: Readiness, _ isOn: Bool) {
        guard let interest = watch?.interest, !isClosing else { return }
        change(to: isOn ? interest.union(readiness) : interest.subtracting(readiness))
    }

    private func change(to interest: Readiness) {
        guard var watch else { return }
        ioQueue.change(&watch, to: interest)
        self.watch = watch
    }

    func isReady(_ readiness: Readiness) {
        if readiness.contains(.readable), waits(for: .readable) { readOnce() }
        if readiness.contains(.writable), waits(for: .writable), !isClosing { writeOnce() }
    }

    /// Sends what is queued, shuts down writing, reads and drops up to 64 KiB for at most a second (so that
    /// a reset does not destroy the last frame), then closes.
    package func closeAfterSending() {
        guard !isClosed, !closesWhenSent else { return }
        closesWhenSent = true
        flush()
        if outboxBytes == 0 { beginLinger() }
    }

    /// Closes at once; what is queued is lost. `resets` makes the kernel answer with RST.
    package func close(resets: Bool = false) {
        guard !isClosing else { return }
        isClosing = true
        if resets {
            var option = linger(l_onoff: 1, l_linger: 0)
            setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
        }
        outbox.removeAll()
        outboxHead = 0
        outboxBytes = 0
        if var watch { ioQueue.end(&watch) }
        watch = nil
        // In a turn of its own, as nobody who closes wants to hear of it in the midst of that.
        ioQueue.async { [self] in finishClose() }
    }

    /// To be called at each tick: ends the linger of a closing connection.
    package func tick(_ now: UInt64) {
        if let lingerDeadline, now >= lingerDeadline { close() }
    }

    private func readOnce() {
        guard !isClosing else { return }
        let count = recv(
            descriptor, ioQueue.scratch.baseAddress, min(maximumReadBytes, ioQueue.scratch.count), 0)
        if count > 0 {
            lastReceived = monotonicNanoseconds()
            receivedBytes += UInt64(count)
            if lingerDeadline != nil || closesWhenSent {
                drainedBytes += count
                if drainedBytes > 65_536 { close() }
                return
            }
            onBytes?(UnsafeRawBufferPointer(rebasing: ioQueue.scratch[..<count]))
            return
        }
        if count < 0 && (errno == EAGAIN || errno == EINTR) { return }
        inputEnded = true
        if lingerDeadline != nil || count < 0 && closesWhenSent { return close() }
        pauseReading()
        let ended = onEnd
        onEnd = nil
        ended?(count == 0 && !isHungUp ? .endOfInput : .reset)
    }

    /// The peer of a Unix socket has closed, and not only stopped to send: no answer has anybody to go to. (TCP tells
    /// that only to who sends.)
    private var isHungUp: Bool {
        var state = pollfd(fd: descriptor, events: 0, revents: 0)
        return poll(&state, 1, 0) > 0 && state.revents & Int16(POLLHUP) != 0
    }

    private func writeOnce() {
        while outboxBytes > 0 {
            var vectors = [iovec]()
            vectors.reserveCapacity(min(outbox.count - outboxHead, 64))
            for buffer in outbox[outboxHead...].prefix(64) {
                vectors.append(iovec(iov_base: buffer.base + buffer.start, iov_len: buffer.count))
            }
            let sent = vectors.withUnsafeMutableBufferPointer { vectors in
                var message = msghdr()
                message.msg_iov = vectors.baseAddress
                message.msg_iovlen = vectors.count
                return sendmsg(descriptor, &message, Int32(MSG_NOSIGNAL))
            }
            if sent < 0 {
                if errno == EINTR { continue }
                if errno == EAGAIN { return wait(for: .writable, true) }
                // The peer is gone: its answers have nobody to go to.
                outbox.removeAll()
                outboxHead = 0
                outboxBytes = 0
                let ended = onEnd
                onEnd = nil
                ended?(.reset)
                if ended == nil { close() }
                return
            }
            consume(sent)
        }
        wait(for: .writable, false)
        if closesWhenSent && !isClosing { beginLinger() }
    }

    private func consume(_ sent: Int) {
        sentBytes += UInt64(sent)
        outboxBytes -= sent
        lastOutputProgress = monotonicNanoseconds()
        var left = sent
        while left > 0 {
            let buffer = outbox[outboxHead]
            let part = min(left, buffer.count)
            buffer.start += part
            left -= part
            if buffer.count == 0 { outboxHead += 1 }
        }
        if outboxHead == outbox.count {
            outbox.removeAll(keepingCapacity: outbox.capacity <= 64)
            outboxHead = 0
        } else if outboxHead >= 64 {
            outbox.removeFirst(outboxHead)
            outboxHead = 0
        }
    }

    private func beginLinger() {
        guard lingerDeadline == nil else { return }
        // A peer that has said its last word sends nothing that a reset could answer.
        if inputEnded { return close() }
        lingerDeadline = monotonicNanoseconds() + 1_000_000_000
        shutdown(descriptor, Int32(SHUT_WR))
        resumeReading()
    }

    private func finishClose() {
        guard !isClosed else { return }
        isClosed = true
        Glibc.close(descriptor)
        onBytes = nil
        onEnd = nil
        let closed = onClosed
        onClosed = nil
        closed?()
    }
}
