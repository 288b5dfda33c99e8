import CPosix
import Dispatch
import Synchronization

/// Gives the memory of a peak back to the system when the peak is over. The allocator keeps what was freed, so that a daemon that
/// once held many large requests would stay as large.
///
/// It looks every five seconds. Going through the free memory takes the allocator's locks for milliseconds, so it is done only
/// while little is buffered, and only when so much more is resident than after the last time that it may be worth it.
final class MemoryReturn: Sendable {
    private static let interval = DispatchTimeInterval.seconds(5)
    /// Bytes more than after the last return for which there is another.
    private static let growth = 8 << 20
    /// Bytes of requests and answers up to which the daemon is at rest.
    private static let rest = 1 << 20

    private let queue = DispatchQueue(label: "sae.memory", qos: .utility)
    private let kept = Mutex(ProcessMetrics.residentBytes)

    /// `bufferedBytes` gives what requests and answers hold now, or nil when there is nothing to do any more.
    func watch(_ bufferedBytes: @escaping @Sendable () -> Int?) {
        queue.asyncAfter(deadline: .now() + Self.interval) { [weak self] in
            guard let self, let bytes = bufferedBytes() else { return }
            if bytes < Self.rest { returnIfGrown() }
            watch(bufferedBytes)
        }
    }

    private func returnIfGrown() {
        kept.withLock { kept in
            guard ProcessMetrics.residentBytes > kept + Self.growth else { return }
            sae_return_free_memory()
            kept = ProcessMetrics.residentBytes
        }
    }
}
