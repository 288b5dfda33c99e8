import Glibc
import Transport
package import Wire

/// A socket in the hands of somebody who need not keep the rules: any bytes out, frames in words back.
package final class RawPeer {
    /// How the server ended it, once it has.
    package enum End: String, Sendable { case closed, reset }

    package struct Impatient: Error {}

    private let socket: Socket
    private var decoder = FrameDecoder(maximumFrameBytes: 16_777_216)
    private var arrived: [Frame] = []
    private var buffer = [UInt8](repeating: 0, count: 65_536)
    package private(set) var end: End?

    /// Connects; `receiveBytes` makes the kernel keep no more than about so much for a peer that does not read.
    package init(_ endpoint: String, receiveBytes: Int32? = nil) throws {
        socket = try Socket.connecting(to: Endpoint(parsing: endpoint))
        if var size = receiveBytes {
            setsockopt(socket.number, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size))
        }
    }

    /// Connects and shakes hands.
    package static func greeted(
        _ endpoint: String, checksums: Bool = false, maximumFrameBytes: UInt32 = 4_194_304, window: UInt32 = 65_536,
        token: String = "", receiveBytes: Int32? = nil
    ) async throws -> RawPeer {
        let peer = try RawPeer(endpoint, receiveBytes: receiveBytes)
        try await peer.send(helloFrame(checksums: checksums, maximumFrameBytes: maximumFrameBytes, window: window, token: token))
        guard try await peer.words() == "hello" else { throw Impatient() }
        return peer
    }

    /// Sends `bytes` until the server has closed or has taken none for `seconds` by `patience`; how many it has taken.
    @discardableResult
    package func send(_ bytes: [UInt8], within seconds: Double = 5) async throws -> Int {
        var rest = bytes[...]
        var end = deadline(in: seconds)
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                Glibc.send(socket.number, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count >= 0 {
                rest = rest.dropFirst(count)
                end = deadline(in: seconds)
            } else if errno == EAGAIN, ContinuousClock.now < end {
                try await Task.sleep(for: .milliseconds(1))
            } else {
                break
            }
        }
        return bytes.count - rest.count
    }

    /// The next frame, waited for at most `seconds` by `patience`; nil once the server has ended the connection.
    package func frame(within seconds: Double = 5) async throws -> Frame? {
        let last = deadline(in: seconds)
        while true {
            if !arrived.isEmpty { return arrived.removeFirst() }
            guard end == nil else { return nil }
            let count = recv(socket.number, &buffer, buffer.count, 0)
            if count > 0 {
                arrived += try decoder.frames(in: buffer[..<count])
            } else if count == 0 {
                end = .closed
            } else if errno == EAGAIN {
                guard ContinuousClock.now < last else { throw Impatient() }
                try await Task.sleep(for: .milliseconds(1))
            } else {
                end = .reset
            }
        }
    }

    /// What the next frame says, or `closed` or `reset`.
    package func words(within seconds: Double = 5) async throws -> String {
        if let frame = try await frame(within: seconds) { return TestPeers.words(frame) }
        return end?.rawValue ?? "?"
    }

    /// What the next `count` frames say.
    package func words(_ count: Int) async throws -> [String] {
        var result: [String] = []
        while result.count < count, end == nil { result.append(try await words()) }
        return result
    }

    /// No more bytes will come from here.
    package func finishSending() { shutdown(socket.number, Int32(SHUT_WR)) }

    /// The connection dies with the object; this way at once and with RST.
    package func reset() {
        var option = linger(l_onoff: 1, l_linger: 0)
        setsockopt(socket.number, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
    }
}
