import Transport
import Wire

/// The connections of one I/O queue.
///
/// Safe as `Sendable`: everything but `ioQueue` itself is touched on that queue only.
final class Lane: @unchecked Sendable {
    private(set) var ioQueue: IOQueue
    private var connections: [UInt64: ServerConnection] = [:]
    /// Connections whose HELLO has not come.
    var unopened = 0
    private unowned let service: Service

    init(index: Int, service: Service) {
        self.service = service
        let box = LaneBox()
        ioQueue = IOQueue(label: "sae.io.\(index)") { now in box.lane?.tick(now) }
        box.lane = self
    }

    /// The timer's way back to the lane, which does not exist yet when the timer is made.
    private final class LaneBox: @unchecked Sendable { weak var lane: Lane? }

    func add(_ connection: ServerConnection) {
        connections[connection.id] = connection
        unopened += 1
        connection.start()
        // More in their handshake than allowed: the oldest goes.
        if unopened > service.unopenedPerLane,
            let oldest = connections.values.filter({ !$0.hasOpened }).min(by: { $0.openedAt < $1.openedAt }) {
            oldest.close(.deadlineExceeded, reason: "handshake_timeout")
        }
    }

    func remove(_ connection: ServerConnection, reason: String) {
        guard connections.removeValue(forKey: connection.id) != nil else { return }
        if !connection.hasOpened { unopened -= 1 }
        service.connectionClosed(connection, reason: reason)
    }

    func forEach(_ body: (ServerConnection) -> Void) {
        for connection in Array(connections.values) { body(connection) }
    }

    /// Connections and open streams, by transport; for metrics.
    func counts() -> [TransportName: (connections: Int, streams: Int)] {
        var counts: [TransportName: (connections: Int, streams: Int)] = [:]
        for connection in connections.values {
            let before = counts[connection.transport] ?? (0, 0)
            counts[connection.transport] = (before.connections + 1, before.streams + connection.streamCount)
        }
        return counts
    }

    /// Requests by method, for the gauge.
    var isQuiet: Bool { connections.values.allSatisfy(\.isQuiet) }

    private func tick(_ now: UInt64) { forEach { $0.tick(now) } }
}
