import CPosix
import Dispatch
import Synchronization

/// Gives the memory of a peak back to the system when the peak is over. The allocator keeps what was freed, so that a daemon that
/// once held many large requests would stay as large.
///
/// It looks every five seconds. Going through the free memory takes the allocator's locks for milliseconds, so it is done only
/// while little is buffered, and only when so much more is resident than after the last time, or so many connections of then are
/// gone, that it may be worth it.
final class MemoryReturn: Sendable {
    private static let interval = DispatchTimeInterval.seconds(5)
    /// Bytes more than after the last return for which there is another.
    private static let growth = 8 << 20
    /// Bytes of requests and answers up to which the daemon is at rest.
    private static let rest = 1 << 20

    private let queue = DispatchQueue(label: "sae.memory", qos: .utility)
    /// Connections fewer, since their memory was in use at the last return: 16 KB each with TLS.
    private static let gone = 256

    /// What the daemon holds.
    struct Load {
        /// Bytes of requests and answers.
        var buffered: Int
        var connections: Int
    }

    /// As of the last return.
    private let kept = Mutex((resident: ProcessMetrics.residentBytes, connections: 0))

    /// `load` gives nil when there is nothing to do any more.
    func watch(_ load: @escaping @Sendable () -> Load?) {
        queue.asyncAfter(deadline: .now() + Self.interval) { [weak self] in
            guard let self, let now = load() else { return }
            if now.buffered < Self.rest { returnIfWorthIt(now.connections) }
            watch(load)
        }
    }

    private func returnIfWorthIt(_ connections: Int) {
        kept.withLock { kept in
            guard ProcessMetrics.residentBytes > kept.resident + Self.growth || connections + Self.gone < kept.connections else { return }
            sae_return_free_memory()
            kept = (ProcessMetrics.residentBytes, connections)
        }
    }
}
