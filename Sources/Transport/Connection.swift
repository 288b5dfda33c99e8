package import Encryption
import Glibc

/// A connected stream socket on one I/O queue: bounded reads in, a bounded backlog out, nothing that blocks. With an
/// encrypted session everything passes through that, and what callers see, and count, is plaintext.
///
/// Every member is used on `ioQueue` only; that is what makes the class safe as `Sendable`.
package final class Connection: DescriptorOwner, @unchecked Sendable {
    /// Why no more bytes will come in.
    package enum End: Sendable, Equatable {
        case endOfInput, reset
        /// Encryption did not come about or broke; a last word to the peer is on its way, and `closeAfterSending` sends it.
        case insecure(EncryptionError)
    }

    package let ioQueue: IOQueue
    private let descriptor: Int32
    private let session: EncryptedSession?
    private var isInsecure = false
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
    private var onDrained: (() -> Void)?

    private var queuedBytes = 0
    /// Most bytes of one read, beside `IOQueue.readBytes`.
    package var maximumReadBytes = Int.max
    package private(set) var receivedBytes: UInt64 = 0
    package private(set) var sentBytes: UInt64 = 0
    package private(set) var lastReceived: UInt64
    /// When the kernel last took output, or when the outbox last became non-empty.
    package private(set) var lastOutputProgress: UInt64
    package private(set) var isClosed = false

    /// Bytes accepted for sending and not yet taken by the kernel, and what encryption has to send.
    package var outboxBytes: Int { queuedBytes + (session?.outputCount ?? 0) }

    /// Takes over a non-blocking socket.
    package init(_ socket: consuming Socket, on ioQueue: IOQueue, encryption session: EncryptedSession? = nil) {
        self.ioQueue = ioQueue
        self.session = session
        descriptor = socket.release()
        lastReceived = monotonicNanoseconds()
        lastOutputProgress = lastReceived
    }

    /// Begins to read. `onBytes` gets each read's bytes, valid during the call; `onEnd` comes once; `onClosed`
    /// when the descriptor is gone; `onDrained` each time that the kernel has taken output that had to wait. The closures are dropped
    /// at the close.
    package func start(
        onBytes: @escaping (UnsafeRawBufferPointer) -> Void,
        onEnd: @escaping (End) -> Void,
        onClosed: @escaping () -> Void,
        onDrained: (() -> Void)? = nil
    ) {
        precondition(ioQueue.isCurrent, "a connection begins on its I/O queue")
        self.onBytes = onBytes
        self.onEnd = onEnd
        self.onClosed = onClosed
        self.onDrained = onDrained
        watch = ioQueue.watch(descriptor, for: .readable, self)
        guard let session else { return }
        do throws(EncryptionError) { try session.begin() } catch { return fail(error) }
        flush()
    }

    /// Adds to the outbox without a system call; `flush` sends what has gathered.
    package func enqueue(_ buffer: SendBuffer) {
        guard !isClosed, !isClosing, buffer.count > 0 else { return }
        if outboxBytes == 0 { lastOutputProgress = monotonicNanoseconds() }
        outbox.append(buffer)
        queuedBytes += buffer.count
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
        if readiness.contains(.writable), waits(for: .writable), !isClosing {
            writeOnce()
            if outboxBytes == 0, !isClosing { onDrained?() }
        }
    }

    /// Sends what is queued, shuts down writing, reads and drops up to 64 KiB for at most a second (so that
    /// a reset does not destroy the last frame), then closes.
    package func closeAfterSending() {
        guard !isClosed, !closesWhenSent else { return }
        closesWhenSent = true
        // Before the handshake is over, or after encryption broke, nothing can be said.
        if let session, isInsecure || !session.isEstablished { dropQueued() }
        flush()
        if outboxBytes == 0 { beginLinger() }
    }

    private func dropQueued() {
        outbox.removeAll()
        outboxHead = 0
        queuedBytes = 0
    }

    /// Closes at once; what is queued is lost. `resets` makes the kernel answer with RST.
    package func close(resets: Bool = false) {
        guard !isClosing else { return }
        isClosing = true
        if let session, !resets, queuedBytes == 0 {
            // So that the peer can tell this end from one that somebody between made.
            if !isInsecure { session.finish() }
            if session.outputCount > 0 { _ = sendSealed(session) }
        }
        if resets {
            var option = linger(l_onoff: 1, l_linger: 0)
            setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
        }
        dropQueued()
        if let session { session.consume(session.outputCount) }
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
            if lingerDeadline != nil || closesWhenSent {
                drainedBytes += count
                if drainedBytes > 65_536 { close() }
                return
            }
            return deliver(UnsafeRawBufferPointer(rebasing: ioQueue.scratch[..<count]))
        }
        if count < 0 && (errno == EAGAIN || errno == EINTR) { return }
        // An encrypted session says itself when it ends.
        endInput(count == 0 && session == nil && !isHungUp ? .endOfInput : .reset, isBroken: count < 0)
    }

    private func endInput(_ end: End, isBroken: Bool = false) {
        inputEnded = true
        if lingerDeadline != nil || isBroken && closesWhenSent { return close() }
        pauseReading()
        let ended = onEnd
        onEnd = nil
        ended?(end)
    }

    private func deliver(_ bytes: UnsafeRawBufferPointer) {
        guard let session else {
            receivedBytes += UInt64(bytes.count)
            onBytes?(bytes)
            return
        }
        guard !isInsecure else { return }
        let hadOutput = outboxBytes > 0, wasEstablished = session.isEstablished
        do throws(EncryptionError) {
            try session.receive(bytes) { [self] plain in
                receivedBytes += UInt64(plain.count)
                onBytes?(plain)
                return !isClosing && !closesWhenSent
            }
        } catch { return fail(error) }
        if !hadOutput { lastOutputProgress = monotonicNanoseconds() }
        // Also what waited for the handshake.
        if session.outputCount > 0 || !wasEstablished { flush() }
        if session.isEnded, !isClosing, !inputEnded { endInput(session.isEstablished ? .endOfInput : .reset) }
    }

    /// Encryption cannot go on: what is queued has no way out any more.
    private func fail(_ error: EncryptionError) {
        guard !isClosing, !isInsecure else { return }
        isInsecure = true
        dropQueued()
        let ended = onEnd
        onEnd = nil
        ended?(.insecure(error))
    }

    /// The peer of a Unix socket has closed, and not only stopped to send: no answer has anybody to go to. (TCP tells
    /// that only to who sends.)
    private var isHungUp: Bool {
        var state = pollfd(fd: descriptor, events: 0, revents: 0)
        return poll(&state, 1, 0) > 0 && state.revents & Int16(POLLHUP) != 0
    }

    private func writeOnce() {
        while outboxBytes > 0 {
            let sent: Int
            if let session {
                guard seal(session) else { break }
                sent = sendSealed(session)
            } else {
                sent = sendQueued()
            }
            if sent < 0 {
                if errno == EINTR { continue }
                if errno == EAGAIN { return wait(for: .writable, true) }
                // The peer is gone: its answers have nobody to go to.
                dropQueued()
                if let session { session.consume(session.outputCount) }
                let ended = onEnd
                onEnd = nil
                ended?(.reset)
                if ended == nil { close() }
                return
            }
            lastOutputProgress = monotonicNanoseconds()
            if session == nil { consume(sent) }
        }
        wait(for: .writable, false)
        if closesWhenSent && !isClosing && outboxBytes == 0 { beginLinger() }
    }

    private func sendQueued() -> Int {
        var vectors = [iovec]()
        vectors.reserveCapacity(min(outbox.count - outboxHead, 64))
        for buffer in outbox[outboxHead...].prefix(64) {
            vectors.append(iovec(iov_base: buffer.base + buffer.start, iov_len: buffer.count))
        }
        return vectors.withUnsafeMutableBufferPointer { vectors in
            var message = msghdr()
            message.msg_iov = vectors.baseAddress
            message.msg_iovlen = vectors.count
            return sendmsg(descriptor, &message, Int32(MSG_NOSIGNAL))
        }
    }

    private func sendSealed(_ session: EncryptedSession) -> Int {
        let sent = session.withOutput { send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        if sent > 0 { session.consume(sent) }
        return sent
    }

    /// Bytes of one record; what is small shares one.
    private static let recordBytes = 16_384

    /// Encrypts of what is queued as much as one call may send; false when there is nothing to send for now.
    private func seal(_ session: EncryptedSession) -> Bool {
        guard session.isEstablished, !isInsecure else { return session.outputCount > 0 }
        while queuedBytes > 0, session.outputCount < 4 * Self.recordBytes {
            let failure: EncryptionError? = withUnsafeTemporaryAllocation(byteCount: Self.recordBytes, alignment: 16) { record in
                var count = 0
                for buffer in outbox[outboxHead...] {
                    guard count < record.count else { break }
                    let part = UnsafeMutableRawBufferPointer(rebasing: buffer.body.prefix(record.count - count))
                    UnsafeMutableRawBufferPointer(rebasing: record[count...]).copyMemory(from: UnsafeRawBufferPointer(part))
                    count += part.count
                }
                do throws(EncryptionError) { try session.send(UnsafeRawBufferPointer(rebasing: record[..<count])) } catch { return error }
                consume(count)
                return nil
            }
            if let failure {
                fail(failure)
                return false
            }
        }
        return session.outputCount > 0
    }

    private func consume(_ sent: Int) {
        sentBytes += UInt64(sent)
        queuedBytes -= sent
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
        if let session, !isInsecure, session.isEstablished {
            session.finish()
            if session.outputCount > 0 { return writeOnce() }
        }
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
        onDrained = nil
        let closed = onClosed
        onClosed = nil
        closed?()
    }
}
