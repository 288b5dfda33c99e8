import CPosix
import Glibc
import SAEEngine
import Synchronization
import Transport

/// Threads of our own that compute slices, each at a desk with its engine workspace.
final class WorkerPool: Sendable {
    private let threads: [Worker]

    init(
        count: Int, scheduler: Scheduler, metrics: Metrics,
        onScorerFailure: @escaping @Sendable (String) -> Void, onFinished: @escaping @Sendable (Request) -> Void
    ) {
        threads = (0..<count).map { _ in
            Worker(
                scheduler: scheduler, metrics: metrics, onScorerFailure: onScorerFailure,
                onFinished: onFinished)
        }
        for worker in threads { worker.start() }
    }

    var count: Int { threads.count }

    /// How long the slowest worker has been at its slice.
    func longestSlice(_ now: UInt64) -> Duration {
        .nanoseconds(Int64(threads.map { $0.busyNanoseconds(now) }.max() ?? 0))
    }

    /// Waits for the threads to end, after the scheduler has stopped.
    func join() { for worker in threads { worker.join() } }
}

/// One thread and what it needs.
private final class Worker: Sendable {
    private let scheduler: Scheduler
    private let metrics: Metrics
    private let onScorerFailure: @Sendable (String) -> Void
    private let onFinished: @Sendable (Request) -> Void
    /// Start of the slice under way, or 0.
    private let busySince = Atomic<UInt64>(0)
    private let thread = Mutex<pthread_t?>(nil)

    init(
        scheduler: Scheduler, metrics: Metrics, onScorerFailure: @escaping @Sendable (String) -> Void,
        onFinished: @escaping @Sendable (Request) -> Void
    ) {
        self.onScorerFailure = onScorerFailure
        self.scheduler = scheduler
        self.metrics = metrics
        self.onFinished = onFinished
    }

    func start() {
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        // sentencepiece and protobuf are content with far less; memory is touched only as it is used.
        pthread_attr_setstacksize(&attributes, 2 << 20)
        var started = pthread_t()
        let context = Unmanaged.passRetained(self).toOpaque()
        let result = pthread_create(&started, &attributes, { context in
            guard let context else { return nil }
            Unmanaged<Worker>.fromOpaque(context).takeRetainedValue().run()
            return nil
        }, context)
        pthread_attr_destroy(&attributes)
        precondition(result == 0, "no thread for a worker")
        thread.withLock { $0 = started }
    }

    func join() {
        guard let thread = thread.withLock({ thread in defer { thread = nil }; return thread }) else { return }
        pthread_join(thread, nil)
    }

    func busyNanoseconds(_ now: UInt64) -> UInt64 {
        let since = busySince.load(ordering: .relaxed)
        return since == 0 || now < since ? 0 : now - since
    }

    private func run() {
        var desks: [Desk] = []
        while let slice = scheduler.nextSlice() {
            let desk = desk(for: slice.request.generation, among: &desks)
            let start = monotonicNanoseconds()
            busySince.store(start, ordering: .relaxed)
            slice.request.began(start)
            if !slice.request.isStopped { slice.request.compute(slice.range, at: desk) }
            let end = monotonicNanoseconds()
            let isLast = slice.request.finished(slice.range.count, nanoseconds: end - start)
            if isLast && slice.request.isMixed { computeAgain(slice.request, at: desk) }
            record(slice, nanoseconds: end - start, desk)
            if scheduler.finished(slice, nanoseconds: end - start) {
                slice.request.connection.complete(slice.request, .letGo)
            } else if isLast {
                // Makes the answer, of Similarity the matrix.
                let finishing = monotonicNanoseconds()
                onFinished(slice.request)
                let nanoseconds = monotonicNanoseconds() - finishing
                scheduler.answered(nanoseconds: nanoseconds)
                metrics.workerBusyNanoseconds.add(Int(nanoseconds))
            }
            busySince.store(0, ordering: .relaxed)
        }
    }

    /// The desk for a generation. Those of generations that nobody serves by any more are cleared away.
    private func desk(for generation: Generation, among desks: inout [Desk]) -> Desk {
        if let first = desks.first, first.isFor(generation) { return first }
        desks.removeAll { $0.isAbandoned }
        let index = desks.firstIndex { $0.isFor(generation) }
        let desk = index.map { desks.remove(at: $0) } ?? Desk(generation, onScorerFailure: onScorerFailure)
        desks.insert(desk, at: 0)
        return desk
    }

    /// A device failed while `request` was under way: the CPU, which cannot, computes all of it. The slice in hand keeps
    /// the request from being let go.
    private func computeAgain(_ request: Request, at desk: Desk) {
        let start = monotonicNanoseconds()
        request.startOver()
        request.compute(request.lengths.indices, at: desk)
        _ = request.finished(0, nanoseconds: monotonicNanoseconds() - start)
    }

    private func record(_ slice: Slice, nanoseconds: UInt64, _ desk: Desk) {
        metrics.workerBusyNanoseconds.add(Int(nanoseconds))
        metrics.batchTexts.observe(slice.range.count)
        let counts = desk.takeCounts()
        metrics.pieces.add(counts.pieces)
        metrics.textBytes.add(counts.bytes)
        metrics.cacheLookups[0].add(counts.hits)
        metrics.cacheLookups[1].add(counts.misses)
    }
}
