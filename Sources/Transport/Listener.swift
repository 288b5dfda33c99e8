import CPosix
package import Dispatch
import Glibc

/// Accepts connections on one endpoint. Out of descriptors or memory, it pauses for 100 ms and goes on.
///
/// Safe as `Sendable`: mutable state is touched on the queue only.
package final class Listener: @unchecked Sendable {
    /// Where it really listens: with the port that the kernel chose.
    package let endpoint: Endpoint
    /// A socket that came from outside (socket activation): its file is not ours to remove.
    private let isActivated: Bool
    private let descriptor: Int32
    private let queue: DispatchQueue
    private let source: any DispatchSourceRead
    private var isOpen = true

    /// `onAccept` gets each new, non-blocking connection's descriptor on `queue` and owns it from then on.
    package init(
        _ socket: consuming Socket, isActivated: Bool = false, queue: DispatchQueue,
        onAccept: @escaping @Sendable (Int32) -> Void
    ) throws(TransportError) {
        guard let endpoint = Endpoint(ofLocal: socket.number) else {
            throw .system(operation: "name", endpoint: "an activated socket", errno: errno)
        }
        self.endpoint = endpoint
        self.isActivated = isActivated
        self.queue = queue
        _ = sae_set_nonblocking(socket.number)
        let descriptor = socket.release()
        self.descriptor = descriptor
        source = DispatchSource.makeReadSource(fileDescriptor: descriptor, queue: queue)
        let isTCP = if case .tcp = endpoint { true } else { false }
        source.setEventHandler { [weak self] in self?.acceptSome(isTCP: isTCP, onAccept) }
        source.setCancelHandler { Glibc.close(descriptor) }
        source.activate()
    }

    /// Stops accepting and removes a Unix socket's file. Activated sockets stay with whoever passed them.
    package func close() {
        queue.async { [self] in
            guard isOpen else { return }
            isOpen = false
            if case .unix(let path) = endpoint, !isActivated { unlink(path) }
            source.cancel()
        }
    }

    private func acceptSome(isTCP: Bool, _ onAccept: @Sendable (Int32) -> Void) {
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
        source.suspend()
        // Captures the listener: a suspended source must not be released.
        queue.asyncAfter(deadline: .now() + .milliseconds(100)) { [self] in source.resume() }
    }
}
