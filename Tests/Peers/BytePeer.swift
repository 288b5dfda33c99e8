import Glibc
import Transport

/// A socket in the hands of somebody who need not keep any rule: bytes out, bytes back.
package final class BytePeer {
    package struct Impatient: Error {}

    private let socket: Socket
    private var buffer = [UInt8](repeating: 0, count: 65_536)

    package init(_ endpoint: String) throws { socket = try Socket.connecting(to: Endpoint(parsing: endpoint)) }

    /// Sends `bytes` until the other side has closed.
    package func send(_ bytes: [UInt8]) async throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.send(socket.number, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            if count >= 0 {
                rest = rest.dropFirst(count)
            } else if errno == EAGAIN {
                try await Task.sleep(for: .milliseconds(1))
            } else {
                return
            }
        }
    }

    /// Sends each byte in a packet of its own.
    package func trickle(_ bytes: [UInt8]) async throws {
        for byte in bytes {
            try await send([byte])
            await Task.yield()
        }
    }

    /// What comes next, waited for at most `seconds` by `patience`; empty once the other side has closed.
    package func receive(within seconds: Double = 5) async throws -> [UInt8] {
        let last = deadline(in: seconds)
        while true {
            let count = recv(socket.number, &buffer, buffer.count, 0)
            if count >= 0 { return Array(buffer[..<count]) }
            guard errno == EAGAIN else { return [] }
            guard ContinuousClock.now < last else { throw Impatient() }
            try await Task.sleep(for: .milliseconds(1))
        }
    }

    /// All that comes until the other side closes.
    package func remainder(within seconds: Double = 5) async throws -> [UInt8] {
        var all: [UInt8] = []
        while true {
            let part = try await receive(within: seconds)
            guard !part.isEmpty else { return all }
            all += part
        }
    }

    /// No more bytes will come from here.
    package func finishSending() { shutdown(socket.number, Int32(SHUT_WR)) }
}
