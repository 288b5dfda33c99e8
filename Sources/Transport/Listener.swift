import CPosix
import Glibc

/// Accepts connections on one endpoint. Out of descriptors or memory, it pauses for 100 ms and goes on.
///
/// Safe as `Sendable`: mutable state is touched on the queue only.
package final class Listener: DescriptorOwner, @unchecked Sendable {
    /// Where it really listens: with the port that the kernel chose.
    package let endpoint: Endpoint
    /// A socket that came from outside (socket activation): its file is not ours to remove.
    private let isActivated: Bool
    private let descriptor: Int32
    private let queue: IOQueue
    private let onAccept: @Sendable (Int32) -> Void
    private var watch: Watch?
    private var isOpen = true

    /// `onAccept` gets each new, non-blocking connection's descriptor on `queue` and owns it from then on.
    package init(
        _ socket: consuming Socket, isActivated: Bool = false, on queue: IOQueue,
        onAccept: @escaping @Sendable (Int32) -> Void
    ) throws(TransportError) {
        guard let endpoint = Endpoint(ofLocal: socket.number) else {
            throw .system(operation: "name", endpoint: "an activated socket", errno: errno)
        }
        self.endpoint = endpoint
        self.isActivated = isActivated
        self.queue = queue
        self.onAccept = onAccept
        _ = sae_set_nonblocking(socket.number)
        descriptor = socket.release()
        queue.async { [self] in
            if isOpen { watch = queue.watch(descriptor, for: .readable, self) }
        }
    }

    /// Stops accepting and removes a Unix socket's file. Activated sockets stay with whoever passed them.
    package func close() {
        queue.async { [self] in
            guard isOpen else { return }
            isOpen = false
            if case .unix(let path) = endpoint, !isActivated { unlink(path) }
            rest()
            Glibc.close(descriptor)
        }
    }

    private func rest() {
        if var watch { queue.end(&watch) }
        watch = nil
    }

    func isReady(_ readiness: Readiness) {
        let isTCP = if case .tcp = endpoint { true } else { false }
        for _ in 0..<64 where isOpen {
            let result = sae_accept(descriptor)
            if result >= 0 {
                if isTCP {
                    var one: Int32 = 1
                    setsockopt(
                        result, Int32(IPPROTO_TCP), Int32(TCP_NODELAY), &one, socklen_t(MemoryLayout<Int32>.size))
                }
                onAccept(result)
                continue
            }
            switch -result {
            case EINTR, ECONNABORTED: continue
            case EAGAIN: return
            default: return pause()
            }
        }
    }

    private func pause() {
        rest()
        queue.async(after: .milliseconds(100)) { [self] in
            if isOpen { watch = queue.watch(descriptor, for: .readable, self) }
        }
    }
}
