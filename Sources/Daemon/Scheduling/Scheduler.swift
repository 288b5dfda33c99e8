import Glibc
import Synchronization
import Transport
import Wire

/// Some consecutive texts of one request: what a worker takes at once.
struct Slice {
    let request: Request
    let range: Range<Int>
    let pieces: Int
}

/// The waiting requests of one connection, or of one corpus job.
///
/// Safe as `Sendable`: touched under the scheduler's lock only.
final class RequestQueue: @unchecked Sendable {
    fileprivate var requests: [Request] = []
    fileprivate var deficit = 0
    fileprivate var isActive = false
    /// One of its chunks waits for room.
    fileprivate var hasWaiting = false
    /// A job's: idle workers take from it, and when there is none, every eighth slice.
    fileprivate let isBackground: Bool

    init(isBackground: Bool = false) { self.isBackground = isBackground }
}

/// The queues of all connections, served in fair order: deficit round robin, one bounded slice a turn. An idle
/// worker takes a request the moment it comes; busy ones batch by themselves.
final class Scheduler: @unchecked Sendable {
    struct Limits: Sendable {
        var maximumTexts: Int
        var maximumPieces: Int
        /// Estimated pieces that a connection's turn adds to its deficit (service section 4).
        var quantum = 2_048

        init(_ configuration: Configuration) {
            maximumTexts = configuration.batchMaximumTexts
            maximumPieces = configuration.batchMaximumPieces
        }
    }

    /// What waits now.
    struct Load: Sendable {
        var texts = 0
        var pieces = 0
        var nanosecondsAPiece = 0.0
        var idleWorkers = 0
    }

    private var limits: Limits
    /// What the last slices took and how many pieces they had, each slice a twentieth less than the one after it.
    private var spent = (nanoseconds: 0.0, pieces: 0.0)
    private let onDropped: @Sendable (Request, StatusCode) -> Void
    private var lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private var wakeup = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var active: [RequestQueue] = []
    private var background: [RequestQueue] = []
    /// Slices taken since the background had one, while it had requests.
    private var slicesSinceBackground = 0
    private var load = Load()
    /// Chunks of streams for which there was no room, one a connection, in the order in which they came; and what they weigh.
    private var waiting: [Waiting] = []
    private var waitingLoad = Load()
    /// A chunk was the last to come in while others waited: the next new request need not wait for them.
    private var isTurnOfRequests = false
    private var isStopped = false

    private struct Waiting {
        let request: Request
        let queue: RequestQueue
        let fits: @Sendable (Load) -> Bool
    }

    /// `onDropped` is called, outside the lock, for a request whose deadline passed while it waited.
    init(limits: Limits, onDropped: @escaping @Sendable (Request, StatusCode) -> Void) {
        self.limits = limits
        self.onDropped = onDropped
        pthread_mutex_init(lock, nil)
        pthread_cond_init(wakeup, nil)
    }

    deinit {
        pthread_cond_destroy(wakeup)
        pthread_mutex_destroy(lock)
        wakeup.deallocate()
        lock.deallocate()
    }

    /// From the next slice on.
    func setLimits(_ limits: Limits) { locked { self.limits = limits } }

    /// Queued texts and pieces, and the moving average of the time a piece takes.
    var current: Load { locked { load } }

    /// Queues `request` if `check` finds nothing against it in the load of this moment: nobody else can take the same room.
    /// Chunks that wait for room count as if they had it, but that between two of them one request may come in.
    func add(
        _ request: Request, to queue: RequestQueue, if check: (Load) throws(Failure) -> Void
    ) throws(Failure) {
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        var load = load
        if !isTurnOfRequests {
            load.texts += waitingLoad.texts
            load.pieces += waitingLoad.pieces
        }
        try check(load)
        isTurnOfRequests = false
        enter(request, queue)
    }

    /// Queues a chunk of a stream as soon as it `fits` the load, after those that wait already. An empty queue takes every chunk.
    /// False, and nothing is done, while another chunk of the same connection waits.
    func add(chunk request: Request, to queue: RequestQueue, once fits: @escaping @Sendable (Load) -> Bool) -> Bool {
        locked {
            guard !queue.hasWaiting else { return false }
            let chunk = Waiting(request: request, queue: queue, fits: fits)
            waiting.append(chunk)
            wait(chunk, 1)
            takeWaiting()
            return true
        }
    }

    /// Queues the chunks that waited and fit by now, in their order. Whoever takes a slice does this first.
    private func takeWaiting() {
        while let first = waiting.first, load.texts == 0 || first.fits(load) {
            waiting.removeFirst()
            wait(first, -1)
            isTurnOfRequests = !waiting.isEmpty
            enter(first.request, first.queue)
        }
    }

    /// Notes that a chunk waits (1), or waits no more (-1).
    private func wait(_ chunk: Waiting, _ sign: Int) {
        chunk.queue.hasWaiting = sign > 0
        waitingLoad.texts += sign * chunk.request.queuedTexts
        waitingLoad.pieces += sign * chunk.request.queuedPieces
    }

    private func enter(_ request: Request, _ queue: RequestQueue) {
        request.prepare()
        append(request, to: queue)
    }

    private func append(_ request: Request, to queue: RequestQueue) {
        queue.requests.append(request)
        count(request.lengths.count, request.estimatedPieceCount, queue)
        activate(queue)
        if load.idleWorkers > 0 { pthread_cond_signal(wakeup) }
    }

    /// Queues a part of a job, whose queue is of the background. It weighs nothing for those who wait for an answer.
    func add(_ request: Request, toBackground queue: RequestQueue) {
        precondition(queue.isBackground)
        locked { append(request, to: queue) }
    }

    private func count(_ texts: Int, _ pieces: Int, _ queue: RequestQueue) {
        guard !queue.isBackground else { return }
        load.texts += texts
        load.pieces += pieces
    }

    /// Takes out of `queue` what nobody waits for any more. Slices already taken stop at their next text: false when
    /// there are some, and then the worker that leaves the last of them says so.
    func remove(_ request: Request, from queue: RequestQueue) -> Bool {
        request.stop()
        return locked {
            if let index = queue.requests.firstIndex(where: { $0 === request }) {
                queue.requests.remove(at: index)
                forget(request, queue)
            } else if let index = waiting.firstIndex(where: { $0.request === request }) {
                wait(waiting.remove(at: index), -1)
            }
            return request.slicesOut == 0
        }
    }

    /// Waits for the next slice in fair order; nil when the scheduler has stopped.
    func nextSlice() -> Slice? {
        while true {
            var late: [Request] = []
            let slice: Slice?? = locked {
                while true {
                    if isStopped { return .some(nil) }
                    if let slice = takeSlice(dropping: &late) { return slice }
                    if !late.isEmpty { return nil }
                    load.idleWorkers += 1
                    pthread_cond_wait(wakeup, lock)
                    load.idleWorkers -= 1
                }
            }
            for request in late { onDropped(request, .deadlineExceeded) }
            if let slice { return slice }
        }
    }

    /// Takes a slice back and records what it took, for the predicted wait. True when its request was stopped and this
    /// was the last slice that a worker had.
    func finished(_ slice: Slice, nanoseconds: UInt64) -> Bool {
        locked {
            slice.request.slicesOut -= 1
            if slice.request.isStopped { return slice.request.slicesOut == 0 }
            spent = (spent.nanoseconds * 0.95, spent.pieces * 0.95 + Double(slice.pieces))
            spend(nanoseconds)
            return false
        }
    }

    /// Records what a worker took to make the answer of slices that it has given back: of JSON more than the vectors took.
    func answered(nanoseconds: UInt64) { locked { spend(nanoseconds) } }

    private func spend(_ nanoseconds: UInt64) {
        spent.nanoseconds += Double(nanoseconds)
        load.nanosecondsAPiece = spent.pieces > 0 ? spent.nanoseconds / spent.pieces : 0
    }

    /// Lets every worker go.
    func stop() {
        locked {
            isStopped = true
            pthread_cond_broadcast(wakeup)
        }
    }

    private func takeSlice(dropping late: inout [Request]) -> Slice? {
        takeWaiting()
        if !background.isEmpty {
            slicesSinceBackground += 1
            if active.isEmpty || slicesSinceBackground >= 8, let slice = takeBackgroundSlice() { return slice }
        }
        return takeForegroundSlice(dropping: &late) ?? takeBackgroundSlice()
    }

    /// The jobs take turns.
    private func takeBackgroundSlice() -> Slice? {
        while !background.isEmpty {
            let queue = background.removeFirst()
            guard let request = queue.requests.first else {
                queue.isActive = false
                continue
            }
            slicesSinceBackground = 0
            let slice = cut(request, queue, budget: limits.maximumPieces, texts: Self.backgroundTexts)
            if request.nextText == request.lengths.count { queue.requests.removeFirst() }
            if queue.requests.isEmpty { queue.isActive = false } else { background.append(queue) }
            if load.idleWorkers > 0 && !background.isEmpty { pthread_cond_signal(wakeup) }
            return slice
        }
        return nil
    }

    /// Texts of a job's slice: what the engine scores at once, and so little that a request that comes meanwhile hardly waits.
    private static let backgroundTexts = 32

    private func takeForegroundSlice(dropping late: inout [Request]) -> Slice? {
        let now = monotonicNanoseconds()
        while let queue = active.first {
            guard let request = queue.requests.first else {
                deactivateFirst()
                continue
            }
            if now >= request.deadline {
                queue.requests.removeFirst()
                request.stop()
                forget(request, queue)
                late.append(request)
                continue
            }
            if queue.deficit <= 0 { queue.deficit += limits.quantum }
            if queue.deficit <= 0 {
                rotate()
                continue
            }
            let budget = active.count == 1 ? limits.maximumPieces : min(queue.deficit, limits.maximumPieces)
            let slice = cut(request, queue, budget: budget, texts: limits.maximumTexts)
            queue.deficit = active.count == 1 ? 0 : queue.deficit - slice.pieces
            if request.nextText == request.lengths.count { queue.requests.removeFirst() }
            if queue.requests.isEmpty {
                deactivateFirst()
            } else if queue.deficit <= 0 {
                rotate()
            }
            if load.idleWorkers > 0 && !(active.isEmpty && background.isEmpty) { pthread_cond_signal(wakeup) }
            return slice
        }
        return nil
    }

    /// The next texts of `request` within `budget` pieces, at least one.
    private func cut(_ request: Request, _ queue: RequestQueue, budget: Int, texts: Int) -> Slice {
        let first = request.nextText
        var end = first, pieces = 0
        while end < request.lengths.count, end - first < texts {
            let cost = Request.estimatedPieces(request.lengths[end])
            if end > first && pieces + cost > budget { break }
            pieces += cost
            end += 1
        }
        request.nextText = end
        request.slicesOut += 1
        count(first - end, -pieces, queue)
        return Slice(request: request, range: first..<end, pieces: pieces)
    }

    /// Takes the untaken texts of `request` out of the totals.
    private func forget(_ request: Request, _ queue: RequestQueue) {
        for length in request.lengths[request.nextText...] { count(-1, -Request.estimatedPieces(length), queue) }
        request.nextText = request.lengths.count
    }

    private func activate(_ queue: RequestQueue) {
        guard !queue.isActive else { return }
        queue.isActive = true
        queue.deficit = 0
        if queue.isBackground { background.append(queue) } else { active.append(queue) }
    }

    private func deactivateFirst() {
        let queue = active.removeFirst()
        queue.isActive = false
        queue.deficit = 0
    }

    private func rotate() { active.append(active.removeFirst()) }

    private func locked<R>(_ body: () -> R) -> R {
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        return body()
    }
}
