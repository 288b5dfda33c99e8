import Foundation
import Glibc
import Messages
package import SwiftProtobuf
import Synchronization
import Transport
package import Wire

/// A server that greets, and then does with each REQUEST, and each MESSAGE behind one, what a test says.
package final class ScriptedServer: Sendable {
    /// A REQUEST or MESSAGE as it came: of which connection, and which of all of its kind, counted from 0.
    package struct Request: Sendable {
        package let connection: Int
        package let number: Int
        package let frame: Frame
        package var stream: UInt32 { frame.header.stream }

        /// An answer of Info.
        package func answer() -> Act { answer(Sae_V1_InfoResponse.with { $0.model = "scripted" }) }

        package func answer(_ message: some Message, _ attachment: [UInt8] = []) -> Act {
            .send(TestPeers.frame(.message, flags: .last, stream: stream, message: wireBytes(message), attachment: attachment))
        }

        /// A message of a streaming call, which goes on.
        package func part(_ message: some Message, _ attachment: [UInt8] = []) -> Act {
            .send(TestPeers.frame(.message, stream: stream, message: wireBytes(message), attachment: attachment))
        }

        /// The end of a streaming call that went well.
        package func finish() -> Act { .send(TestPeers.frame(.end, stream: stream)) }

        package func end(_ code: StatusCode, isRefused: Bool = true, retryAfter: UInt32 = 0) -> Act {
            let failure = Failure(code, "as the test says", retryAfter: retryAfter, isRefused: isRefused)
            return .send(ConnectionState.encodedEnd(stream: stream, failure, withCRC: false))
        }

        package func goAway(last: UInt32, _ code: StatusCode = .ok) -> Act {
            let message = Sae_V1_GoAway.with { $0.lastStreamID = last; $0.reason = "draining" }
            return .send(TestPeers.frame(.goAway, argument: code.rawValue, message: wireBytes(message)))
        }
    }

    package enum Act: Sendable {
        case send([UInt8])
        /// Ends the connection without a word.
        case close
    }

    private struct State {
        var requests: [ContinuousClock.Instant] = []
        var connectionCount = 0
        var openCount = 0
        var cancelCount = 0
        var messageCount = 0
        var isOver = false
    }

    private let state = Mutex(State())
    private let hello: [UInt8]
    private let respond: @Sendable (Request) -> [Act]
    private let hear: @Sendable (Request) -> [Act]

    /// When each request came.
    /// A copy that shares nothing: the thread sanitizer does not see that reference counts order what arrays share.
    package var requests: [ContinuousClock.Instant] { state.withLock { $0.requests.map(\.self) } }
    package var connectionCount: Int { state.withLock { $0.connectionCount } }
    package var openCount: Int { state.withLock { $0.openCount } }
    package var messageCount: Int { state.withLock { $0.messageCount } }
    package var cancelCount: Int { state.withLock { $0.cancelCount } }

    package init(
        at path: String, limits: [String: UInt64] = [:], hear: @escaping @Sendable (Request) -> [Act] = { _ in [] },
        respond: @escaping @Sendable (Request) -> [Act]
    ) throws {
        self.respond = respond
        self.hear = hear
        let message = Sae_V1_Hello.with {
            $0.versionMin = 1
            $0.versionMax = 1
            $0.maxFrameBytes = 4_194_304
            $0.initialWindow = 65_536
            $0.limits = limits
        }
        hello = frame(.hello, message: wireBytes(message))
        let listener = try Socket.listening(on: .unix(checking: path)).release()
        Thread.detachNewThread { [self] in
            while !isOver {
                var waiting = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
                guard poll(&waiting, 1, 20) == 1 else { continue }
                let peer = accept(listener, nil, nil)
                let number = state.withLock { state in
                    (state.connectionCount, state.openCount) = (state.connectionCount + 1, state.openCount + 1)
                    return state.connectionCount - 1
                }
                Thread.detachNewThread { [self] in
                    serve(peer, number)
                    close(peer)
                    state.withLock { $0.openCount -= 1 }
                }
            }
            close(listener)
            unlink(path)
        }
    }

    package func stop() { state.withLock { $0.isOver = true } }

    private var isOver: Bool { state.withLock { $0.isOver } }

    private func serve(_ peer: Int32, _ connection: Int) {
        var decoder = FrameDecoder(maximumFrameBytes: 4_194_304)
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while !isOver {
            var waiting = pollfd(fd: peer, events: Int16(POLLIN), revents: 0)
            guard poll(&waiting, 1, 20) == 1 else { continue }
            let count = recv(peer, &buffer, buffer.count, 0)
            guard count > 0 else { return }
            for frame in (try? decoder.frames(in: buffer[..<count])) ?? [] {
                switch frame.header.type {
                case .hello: _ = send(peer, hello, hello.count, Int32(MSG_NOSIGNAL))
                case .cancel: state.withLock { $0.cancelCount += 1 }
                case .request:
                    let number = state.withLock { state in
                        state.requests.append(.now)
                        return state.requests.count - 1
                    }
                    guard perform(respond(Request(connection: connection, number: number, frame: frame)), for: peer) else { return }
                case .message:
                    let number = state.withLock { state in
                        state.messageCount += 1
                        return state.messageCount - 1
                    }
                    guard perform(hear(Request(connection: connection, number: number, frame: frame)), for: peer) else { return }
                default: break
                }
            }
        }
    }

    /// False when the connection is to end.
    private func perform(_ acts: [Act], for peer: Int32) -> Bool {
        for act in acts {
            guard case .send(let bytes) = act else { return false }
            _ = send(peer, bytes, bytes.count, Int32(MSG_NOSIGNAL))
        }
        return true
    }
}
