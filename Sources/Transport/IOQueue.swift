package import Dispatch
import Glibc
import Synchronization

/// Nanoseconds of the monotonic clock: the only time that the transport and the daemon reckon with.
package func monotonicNanoseconds() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

/// A serial Dispatch queue that owns connections, with one timer for all their time-outs and one buffer for
/// all their reads, so that an idle connection holds neither.
///
/// Safe as `Sendable`: everything mutable is touched on `queue` only, or is atomic.
package final class IOQueue: @unchecked Sendable {
    /// Between two looks at the time-outs.
    package static let tick = Duration.milliseconds(100)
    /// One bounded read a connection and turn.
    static let readBytes = 131_072

    package let queue: DispatchQueue
    let scratch: UnsafeMutableRawBufferPointer
    private let timer: any DispatchSourceTimer
    private var onTick: (@Sendable (UInt64) -> Void)?
    private let lastTurn = Atomic<UInt64>(monotonicNanoseconds())

    package init(label: String) {
        queue = DispatchQueue(label: label, qos: .userInitiated)
        scratch = .allocate(byteCount: Self.readBytes, alignment: 64)
        timer = DispatchSource.makeTimerSource(queue: queue)
        timer.schedule(deadline: .now(), repeating: .milliseconds(100), leeway: .milliseconds(10))
        timer.setEventHandler { [weak self] in
            let now = monotonicNanoseconds()
            self?.lastTurn.store(now, ordering: .relaxed)
            self?.onTick?(now)
        }
        timer.activate()
    }

    deinit {
        timer.cancel()
        scratch.deallocate()
    }

    /// From now on `body` is called on the queue every `tick` with the time.
    package func everyTick(_ body: @escaping @Sendable (UInt64) -> Void) {
        queue.async { [self] in onTick = body }
    }

    /// When the queue last came round: the watchdog's evidence that it is not stuck.
    package var lastTurnNanoseconds: UInt64 { lastTurn.load(ordering: .relaxed) }

    package func async(_ work: @escaping @Sendable () -> Void) { queue.async(execute: work) }
}
