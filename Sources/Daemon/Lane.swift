import Transport
import Wire

/// Connections and open streams, by transport, and calls that have not ended, by method.
struct OpenCounts: Sendable {
    var connections: [TransportName: Int] = [:]
    var streams: [TransportName: Int] = [:]
    var calls: [Method: Int] = [:]

    mutating func add(_ other: OpenCounts) {
        connections.merge(other.connections, uniquingKeysWith: +)
        streams.merge(other.streams, uniquingKeysWith: +)
        calls.merge(other.calls, uniquingKeysWith: +)
    }
}

/// The connections of one I/O queue.
///
/// Safe as `Sendable`: everything but `ioQueue` itself is touched on that queue only.
final class Lane: @unchecked Sendable {
    let ioQueue: IOQueue
    private var connections: [UInt64: ServerConnection] = [:]
    /// Connections in their handshake, oldest first; those that have left it may linger here.
    private var handshakes: [ServerConnection] = []
    /// Weak: the timer may come round once more while the service goes.
    private weak var service: Service?

    init(index: Int, service: Service) {
        self.service = service
        ioQueue = IOQueue(label: "sae.io.\(index)")
        ioQueue.everyTick { [weak self] now in self?.tick(now) }
    }

    func add(_ connection: ServerConnection) {
        guard let service else { return }
        connections[connection.id] = connection
        handshakes.append(connection)
        connection.start()
        // More in their handshake than allowed: the oldest goes.
        if handshakes.count > service.unopenedPerLane {
            handshakes.removeAll { !$0.isInHandshake }
            if handshakes.count > service.unopenedPerLane {
                handshakes.removeFirst().close(.deadlineExceeded, reason: "handshake_timeout")
            }
        }
    }

    func remove(_ connection: ServerConnection, reason: String) {
        guard connections.removeValue(forKey: connection.id) != nil else { return }
        handshakes.removeAll { $0 === connection }
        service?.connectionIsGone(connection.id, reason: reason)
    }

    func forEach(_ body: (ServerConnection) -> Void) {
        for connection in Array(connections.values) { body(connection) }
    }

    /// What is open now; for metrics.
    func counts() -> OpenCounts {
        var counts = OpenCounts()
        for connection in connections.values {
            counts.connections[connection.transport, default: 0] += 1
            counts.streams[connection.transport, default: 0] += connection.streamCount
            connection.countCalls(&counts.calls)
        }
        return counts
    }

    /// No connection has anything under way.
    var isQuiet: Bool { connections.values.allSatisfy(\.isQuiet) }

    private func tick(_ now: UInt64) {
        guard let service else { return }
        handshakes.removeAll { !$0.isInHandshake }
        forEach { $0.tick(now) }
        // Buffers exhausted: of the connections that are stuck, the one that holds most goes [Redis].
        if service.admission.isShort(now) {
            let stuck = connections.values.filter { $0.isStuck(now) }
            stuck.max { $0.stuckBytes < $1.stuckBytes }?.evict()
        }
    }
}
