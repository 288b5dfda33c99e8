import Transport
import Wire

/// A streaming call from the side of who makes it: messages out as the server's window allows, messages in, one end.
///
/// Safe as `Sendable`: everything mutable is touched on the pool's I/O queue only.
final class Conversation: @unchecked Sendable {
    private struct Outgoing {
        let message: [UInt8]
        let attachment: [UInt8]
        let sent: CheckedContinuation<Result<Void, ClientError>, Never>
    }

    private let ioQueue: IOQueue
    private weak var call: PendingCall?
    private var arrived: [Frame] = []
    private var reader: CheckedContinuation<Result<Frame?, ClientError>, Never>?
    private var writers: [Outgoing] = []
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
        ioQueue.async { [self] in if end == nil, let call { call.link?.endHalf(of: call) } }
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
    func begin(_ call: PendingCall) {
        self.call = call
        pump()
    }

    func received(_ frame: Frame) {
        arrived.append(frame)
        guard let waiting = reader else { return }
        reader = nil
        read(waiting)
    }

    /// Sends what the window has room for.
    func pump() {
        guard end == nil, let call, let link = call.link else { return }
        while let first = writers.first {
            guard link.send(first.message, first.attachment, of: call) else { break }
            writers.removeFirst().sent.resume(returning: .success(()))
        }
        link.flush()
    }

    func finish(_ outcome: Result<Void, ClientError>) {
        guard end == nil else { return }
        end = outcome
        for writer in writers { writer.sent.resume(returning: outcome) }
        writers = []
        if let waiting = reader {
            reader = nil
            read(waiting)
        }
    }
}
