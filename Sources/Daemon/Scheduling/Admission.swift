import Synchronization
import Transport
import Wire

/// Where the daemon is in its life.
package enum ServiceState: Int, Sendable {
    case starting, serving, lameDuck, draining, stopped

    /// Requests are taken.
    var takesRequests: Bool { self == .serving || self == .lameDuck }

    package var label: String {
        switch self {
        case .starting: "starting"
        case .serving: "serving"
        case .lameDuck, .draining: "draining"
        case .stopped: "stopped"
        }
    }
}

/// Accepts a call into the bounded queues, or refuses it at once with the limit that it met.
final class Admission: Sendable {
    private let current: CurrentServing
    private var configuration: Configuration { current.value.configuration }
    private let scheduler: Scheduler
    private let state = Atomic<Int>(ServiceState.starting.rawValue)
    /// Payloads, reservations and unsent output of all connections.
    private let buffered = Atomic<Int>(0)
    /// When the buffers last were too full for something.
    private let lastShort = Atomic<UInt64>(0)

    init(_ current: CurrentServing, scheduler: Scheduler) {
        self.current = current
        self.scheduler = scheduler
    }

    var serviceState: ServiceState { ServiceState(rawValue: state.load(ordering: .acquiring)) ?? .stopped }
    func enter(_ next: ServiceState) { state.store(next.rawValue, ordering: .releasing) }
    /// Unless a drain has begun already.
    func beginServing() {
        _ = state.compareExchange(
            expected: ServiceState.starting.rawValue, desired: ServiceState.serving.rawValue, ordering: .acquiringAndReleasing)
    }

    /// Bytes now counted against `limits.max_buffer_bytes`.
    var bufferedBytes: Int { buffered.load(ordering: .relaxed) }
    func account(_ change: Int) { buffered.wrappingAdd(change, ordering: .relaxed) }
    /// No room is left for bytes of frames that are not whole.
    var isFull: Bool { bufferedBytes >= configuration.maximumBufferBytes }
    /// The buffers are full, or within the last ticks were too full for something.
    func isShort(_ now: UInt64) -> Bool { isFull || now < lastShort.load(ordering: .relaxed) + 300_000_000 }
    private func noteShort() { lastShort.store(monotonicNanoseconds(), ordering: .relaxed) }

    /// What a queue of now would make a new request wait.
    var predictedWait: Duration { wait(scheduler.current) }

    private func wait(_ load: Scheduler.Load) -> Duration {
        .nanoseconds(Int64(Double(load.pieces) * load.nanosecondsAPiece / Double(current.value.workerCount)))
    }

    /// The first check: it needs nothing but the header.
    func checkState() throws(Failure) {
        let state = serviceState
        guard state.takesRequests else {
            throw Failure(.unavailable, "the daemon is \(state.label)", retryAfter: 1_000, isRefused: true)
        }
    }

    /// Answers that are due to a connection and not taken are bounded, also those that need no worker.
    func checkOutput(answerBytes: Int, connectionBytes: Int) throws(Failure) {
        guard connectionBytes + answerBytes <= configuration.maximumConnectionOutputBytes else {
            throw refusal("limits.max_connection_output_bytes", configuration.maximumConnectionOutputBytes)
        }
    }

    /// Accounts for more of an answer that outgrows what was reserved for it.
    func extend(by bytes: Int) throws(Failure) {
        guard buffered.wrappingAdd(bytes, ordering: .relaxed).newValue <= configuration.maximumBufferBytes else {
            buffered.wrappingSubtract(bytes, ordering: .relaxed)
            noteShort()
            var failure = refusal("limits.max_buffer_bytes", configuration.maximumBufferBytes)
            failure.isRefused = false
            throw failure
        }
    }

    private func refusal(_ limit: String, _ value: Int, _ wait: Duration? = nil) -> Failure {
        let retry = min(max((wait ?? predictedWait).milliseconds, 10), 1_000)
        return Failure(
            .resourceExhausted, "the daemon is at a limit", limit: limit, value: UInt64(value),
            retryAfter: UInt32(retry), isRefused: true)
    }

    /// The checks after the stream count, in the order of the specification (section 4), and then the queue. On success
    /// the request's `answerBytes` are accounted for.
    ///
    /// - Parameter connectionBytes: answers reserved and output unsent on the same connection.
    func admit(_ request: Request, to queue: RequestQueue, connectionBytes: Int) throws(Failure) {
        try reserve(request, connectionBytes: connectionBytes)
        do throws(Failure) {
            try scheduler.add(request, to: queue) { load throws(Failure) in
                try check(request, load)
                let wait = wait(load)
                // It could not make it: better now than later.
                guard load.pieces == 0 || monotonicNanoseconds() + wait.nanoseconds < request.deadline else {
                    throw refusal("queue.max_wait_ms", current.value.configuration.queueMaximumWait.milliseconds, wait)
                }
            }
        } catch {
            account(-request.answerBytes)
            throw error
        }
    }

    /// As above, for a chunk of a stream: where only the queue has no room, it waits for that, before requests that come later.
    /// Its deadline does not keep it there, where it would be in the way of others: the queue drops what is late.
    ///
    /// - Returns: false, with nothing accounted for, while another chunk of the same connection waits.
    func admit(chunk request: Request, to queue: RequestQueue, connectionBytes: Int) throws(Failure) -> Bool {
        try reserve(request, connectionBytes: connectionBytes)
        let isTaken = scheduler.add(chunk: request, to: queue) { [self] load in
            do throws(Failure) { try check(request, load) } catch { return false }
            return true
        }
        if !isTaken { account(-request.answerBytes) }
        return isTaken
    }

    /// Checks the deadline, and accounts for the answer where the limits of memory allow it.
    private func reserve(_ request: Request, connectionBytes: Int) throws(Failure) {
        guard monotonicNanoseconds() < request.deadline else { throw Failure(.deadlineExceeded, "the deadline has passed") }
        let limits = current.value.configuration
        let answerBytes = request.answerBytes
        for (limit, value) in [
            ("limits.max_connection_output_bytes", limits.maximumConnectionOutputBytes),
            ("limits.max_buffer_bytes", limits.maximumBufferBytes),
        ] where answerBytes > value {
            // However long the client waits.
            throw Failure(.invalidArgument, "the answer would be over the limit", limit: limit, value: UInt64(value))
        }
        try checkOutput(answerBytes: answerBytes, connectionBytes: connectionBytes)
        // Reserved first, so that two I/O queues cannot both take the last room.
        let total = buffered.wrappingAdd(answerBytes, ordering: .relaxed).newValue
        guard total <= limits.maximumBufferBytes else {
            buffered.wrappingSubtract(answerBytes, ordering: .relaxed)
            noteShort()
            throw refusal("limits.max_buffer_bytes", limits.maximumBufferBytes)
        }
    }

    /// Under the scheduler's lock, so that no other request takes the room between the check and the queue.
    private func check(_ request: Request, _ load: Scheduler.Load) throws(Failure) {
        let limits = current.value.configuration
        let wait = wait(load)
        guard load.texts + request.queuedTexts <= limits.queueMaximumTexts else {
            throw refusal("queue.max_texts", limits.queueMaximumTexts, wait)
        }
        guard load.pieces + request.queuedPieces <= limits.queueMaximumPieces else {
            throw refusal("queue.max_pieces", limits.queueMaximumPieces, wait)
        }
        guard wait <= limits.queueMaximumWait else {
            throw refusal("queue.max_wait_ms", limits.queueMaximumWait.milliseconds, wait)
        }
    }
}
