import Transport
import Wire

/// A streaming call from the side of who makes it: messages out as the server's window allows, messages in, one end.
///
/// Safe as `Sendable`: everything mutable is touched on the pool's I/O queue only.
final class Conversation: @unchecked Sendable {
    private struct Outgoing {
        let message: [UInt8]
        let attachment: [UInt8]
        /// Nil: it was sent before, to a server that then refused the call.
        let sent: CheckedContinuation<Result<Void, ClientError>, Never>?
    }

    private let ioQueue: IOQueue
    private weak var call: PendingCall?
    private var arrived: [Frame] = []
    private var reader: CheckedContinuation<Result<Frame?, ClientError>, Never>?
    private var writers: [Outgoing] = []
    /// What was sent while the server had said nothing of this call: sent again when it refuses it. At most its window.
    private var unheard: [Outgoing] = []
    private var saysNoMore = false
    private var isHalfClosed = false
    /// Something was begun at the server: the call is not made again.
    private(set) var hasHeard = false
    private var end: Result<Void, ClientError>?

    init(on ioQueue: IOQueue) { self.ioQueue = ioQueue }

    var hasEnded: Bool { end != nil }

    /// The next message; nil once the server has ended the call well.
    func next() async throws(ClientError) -> Frame? {
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                ioQueue.async { [self] in read(continuation) }
            }
        } onCancel: {
            cancel()
        }
        return try result.get()
    }

    /// Sends a message, once the server's window has room for it.
    func send(_ message: [UInt8], attachment: [UInt8]) async throws(ClientError) {
        let result: Result<Void, ClientError> = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                ioQueue.async { [self] in
                    if case .failure(let error)? = end { return continuation.resume(returning: .failure(error)) }
                    // The server has said its last word: what more is said goes nowhere.
                    guard end == nil else { return continuation.resume(returning: .success(())) }
                    writers.append(Outgoing(message: message, attachment: attachment, sent: continuation))
                    pump()
                }
            }
        } onCancel: {
            cancel()
        }
        try result.get()
    }

    /// No more messages will be sent.
    func finishSending() {
        ioQueue.async { [self] in
            saysNoMore = true
            pump()
        }
    }

    /// Gives the call up, unless it has ended.
    func cancel() {
        ioQueue.async { [self] in
            guard end == nil else { return }
            if let call { call.link?.abandon(call) }
            finish(.failure(.taskCancelled))
        }
    }

    private func read(_ continuation: CheckedContinuation<Result<Frame?, ClientError>, Never>) {
        if !arrived.isEmpty {
            let frame = arrived.removeFirst()
            if end == nil, let call { call.link?.consumed(frame.payloadCount, of: call, isLast: arrived.isEmpty) }
            continuation.resume(returning: .success(frame))
        } else if let end {
            continuation.resume(returning: end.map { nil })
        } else {
            reader = continuation
        }
    }
}

/// What the connection tells.
extension Conversation {
    /// The call's REQUEST is on its way, for the first time or again.
    func begin(_ call: PendingCall) {
        self.call = call
        isHalfClosed = false
        writers = unheard + writers
        unheard = []
        pump()
    }

    func credited() {
        hear()
        pump()
    }

    private func hear() { (hasHeard, unheard) = (true, []) }

    func received(_ frame: Frame) {
        hear()
        arrived.append(frame)
        guard let waiting = reader else { return }
        reader = nil
        read(waiting)
    }

    /// Sends what the window has room for.
    private func pump() {
        guard end == nil, let call, let link = call.link else { return }
        while let first = writers.first {
            guard link.send(first.message, first.attachment, of: call) else { break }
            writers.removeFirst()
            if !hasHeard { unheard.append(Outgoing(message: first.message, attachment: first.attachment, sent: nil)) }
            first.sent?.resume(returning: .success(()))
        }
        if saysNoMore, writers.isEmpty, !isHalfClosed {
            isHalfClosed = true
            link.endHalf(of: call)
        }
        link.flush()
    }

    func finish(_ outcome: Result<Void, ClientError>) {
        guard end == nil else { return }
        end = outcome
        for writer in writers { writer.sent?.resume(returning: outcome) }
        (writers, unheard) = ([], [])
        if let waiting = reader {
            reader = nil
            read(waiting)
        }
    }
}
