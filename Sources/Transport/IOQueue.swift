import CPosix
import Dispatch
import Glibc
import Synchronization

/// Nanoseconds of the monotonic clock: the only time that the transport and the daemon reckon with.
package func monotonicNanoseconds() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

/// One thread that owns connections: it waits for their descriptors, does what other threads hand to it, in order, and
/// ticks. One timer serves all their time-outs and one buffer all their reads, so that an idle connection holds neither.
///
/// A thread with epoll and not a Dispatch queue with sources: those cost a second thread hand-off and a system call to
/// re-arm for every readiness (`docs/decisions/0008-own-io-threads.md`).
package final class IOQueue: Sendable {
    /// Between two looks at the time-outs.
    package static let tick = Duration.milliseconds(100)
    /// One bounded read a connection and turn.
    static let readBytes = 131_072

    private let loop: EventLoop

    package init(label: String) { loop = EventLoop(label: label) }

    deinit { loop.stop() }

    /// Where reads land; valid until the next read. On the queue's thread only.
    var scratch: UnsafeMutableRawBufferPointer { loop.scratch }

    /// True on the thread of this queue.
    package var isCurrent: Bool { loop.isCurrent }

    /// From now on `body`, too, is called on the queue every `tick` with the time.
    package func everyTick(_ body: @escaping @Sendable (UInt64) -> Void) {
        loop.add { [loop] in loop.onTick.append(body) }
    }

    /// When the queue last came round: the watchdog's evidence that it is not stuck.
    package var lastTurnNanoseconds: UInt64 { loop.lastTurn.load(ordering: .relaxed) }

    /// Does `work` on the queue, after what was handed to it before.
    package func async(_ work: @escaping @Sendable () -> Void) { loop.add(work) }

    /// Does `work` on the queue and waits for it. Not to be called there.
    package func sync<Result: Sendable>(_ work: @escaping @Sendable () -> Result) -> Result {
        precondition(!isCurrent, "an I/O queue cannot wait for itself")
        let box = SyncResult<Result>()
        loop.add {
            box.value.withLock { $0 = work() }
            box.done.signal()
        }
        box.done.wait()
        guard let value = box.value.withLock({ $0 }) else { preconditionFailure("the work was not done") }
        return value
    }

    /// Does `work` on the queue once `delay` has passed, to the millisecond.
    package func async(after delay: Duration, _ work: @escaping @Sendable () -> Void) {
        let due = monotonicNanoseconds() + UInt64(delay / .nanoseconds(1))
        loop.add { [loop] in loop.addLater(due, work) }
    }

    /// Tells `owner`, which is kept, when `descriptor` is ready. On the queue's thread only, like what follows.
    func watch(_ descriptor: Int32, for interest: Readiness, _ owner: any DescriptorOwner) -> Watch {
        loop.watch(descriptor, for: interest, owner)
    }

    /// Changes what a watch waits for; an empty set rests it.
    func change(_ watch: inout Watch, to interest: Readiness) { loop.change(&watch, to: interest) }

    /// Ends a watch, before its descriptor closes.
    func end(_ watch: inout Watch) { loop.end(&watch) }
}

/// Tasks that prefer an I/O queue run on its thread: between a call and its answer they then need no hand-off.
extension IOQueue: TaskExecutor {
    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        async { [self] in job.runSynchronously(on: asUnownedTaskExecutor()) }
    }
}

/// What a descriptor can be ready for.
struct Readiness: OptionSet, Sendable {
    let rawValue: UInt32
    static let readable = Readiness(rawValue: UInt32(SAE_READABLE))
    static let writable = Readiness(rawValue: UInt32(SAE_WRITABLE))
}

/// Who hears, on the I/O queue, that a descriptor is ready.
protocol DescriptorOwner: AnyObject, Sendable {
    func isReady(_ readiness: Readiness)
}

/// A descriptor that an I/O queue waits for.
struct Watch: Sendable {
    fileprivate(set) var interest: Readiness
    fileprivate let descriptor: Int32
    fileprivate let token: UInt64
}

private final class SyncResult<Value: Sendable>: Sendable {
    let value = Mutex<Value?>(nil)
    let done = DispatchSemaphore(value: 0)
}

/// The thread behind an `IOQueue`, which it outlives by its last turn.
///
/// Safe as `Sendable`: `shared` is a lock's; the rest is touched on the thread only or does not change.
private final class EventLoop: @unchecked Sendable {
    private struct Shared {
        var work: [@Sendable () -> Void] = []
        var isAsleep = false
        var isStopped = false
    }

    let scratch: UnsafeMutableRawBufferPointer
    let lastTurn = Atomic<UInt64>(monotonicNanoseconds())
    var onTick: [@Sendable (UInt64) -> Void] = []
    private var later: [(due: UInt64, work: @Sendable () -> Void)] = []
    /// The soonest of `later`.
    private var nextDue = UInt64.max
    /// What the turn under way does; kept for its storage.
    private var taken: [@Sendable () -> Void] = []
    private let label: String
    private let epoll: Int32
    private let bell: Int32
    private let shared = Mutex(Shared())
    private let thread = Atomic<UInt>(0)
    private var owners: [UInt64: any DescriptorOwner] = [:]
    /// The bell's token is 0.
    private var nextToken: UInt64 = 1

    init(label: String) {
        self.label = label
        scratch = .allocate(byteCount: IOQueue.readBytes, alignment: 64)
        epoll = sae_epoll()
        bell = sae_eventfd()
        precondition(
            epoll >= 0 && bell >= 0 && sae_epoll_watch_edges(epoll, bell, 0) == 0, "no descriptors for an I/O queue")
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        pthread_attr_setstacksize(&attributes, 1 << 20)
        var started = pthread_t()
        let result = pthread_create(&started, &attributes, { context in
            guard let context else { return nil }
            Unmanaged<EventLoop>.fromOpaque(context).takeRetainedValue().run()
            return nil
        }, Unmanaged.passRetained(self).toOpaque())
        pthread_attr_destroy(&attributes)
        precondition(result == 0, "no thread for an I/O queue")
        pthread_detach(started)
    }

    deinit {
        close(epoll)
        close(bell)
        scratch.deallocate()
    }

    var isCurrent: Bool { thread.load(ordering: .relaxed) == UInt(pthread_self()) }

    func add(_ work: @escaping @Sendable () -> Void) {
        let wakes = shared.withLock { shared in
            shared.work.append(work)
            defer { shared.isAsleep = false }
            return shared.isAsleep
        }
        if wakes { ring() }
    }

    func stop() {
        shared.withLock { $0.isStopped = true }
        ring()
    }

    func watch(_ descriptor: Int32, for interest: Readiness, _ owner: any DescriptorOwner) -> Watch {
        var watch = Watch(interest: [], descriptor: descriptor, token: nextToken)
        owners[nextToken] = owner
        nextToken += 1
        change(&watch, to: interest)
        return watch
    }

    func change(_ watch: inout Watch, to interest: Readiness) {
        guard interest != watch.interest else { return }
        let isWatched: Int32 = watch.interest.isEmpty ? 0 : 1
        let result = sae_epoll_watch(epoll, watch.descriptor, watch.token, interest.rawValue, isWatched)
        precondition(result == 0 || result == -ENOMEM || result == -ENOSPC, "a descriptor that cannot be watched")
        watch.interest = interest
    }

    func end(_ watch: inout Watch) {
        change(&watch, to: [])
        owners[watch.token] = nil
    }

    private func ring() {
        var one: UInt64 = 1
        _ = Glibc.write(bell, &one, 8)
    }

    private func run() {
        thread.store(UInt(pthread_self()), ordering: .relaxed)
        sae_name_thread(label)
        var ready = [sae_ready](repeating: sae_ready(), count: 64)
        var now = monotonicNanoseconds()
        var nextTick = now
        while true {
            let hasWork = shared.withLock { shared in
                shared.isAsleep = shared.work.isEmpty && !shared.isStopped
                return !shared.isAsleep
            }
            let wake = min(nextTick, nextDue)
            let wait = hasWork || now >= wake ? 0 : Int32((wake - now + 999_999) / 1_000_000)
            let count = Int(max(0, sae_epoll_wait(epoll, &ready, 64, wait)))
            for event in ready[..<count] {
                owners[event.token]?.isReady(Readiness(rawValue: event.readiness))
            }
            guard doWork() else { return }
            now = monotonicNanoseconds()
            if now >= nextDue { doLater(now) }
            if now >= nextTick {
                nextTick = now + UInt64(IOQueue.tick / .nanoseconds(1))
                takeTurn(now)
            }
        }
    }

    /// Does what has been handed over; false when nobody holds the queue any more.
    private func doWork() -> Bool {
        let isStopped = shared.withLock { shared in
            swap(&shared.work, &taken)
            shared.isAsleep = false
            return shared.isStopped
        }
        defer { taken.removeAll(keepingCapacity: taken.capacity <= 256) }
        for work in taken { work() }
        return !isStopped || !taken.isEmpty
    }

    private func takeTurn(_ now: UInt64) {
        lastTurn.store(now, ordering: .relaxed)
        for body in onTick { body(now) }
    }

    func addLater(_ due: UInt64, _ work: @escaping @Sendable () -> Void) {
        later.append((due, work))
        nextDue = min(nextDue, due)
    }

    private func doLater(_ now: UInt64) {
        let due = later.filter { $0.due <= now }
        later.removeAll { $0.due <= now }
        nextDue = later.lazy.map(\.due).min() ?? .max
        for (_, work) in due { work() }
    }
}
