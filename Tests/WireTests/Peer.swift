import Messages
import SwiftProtobuf
import TestPeers
import Wire

/// The two sides of a test: bytes made by hand, actions in words.
struct Peer {
    var state: ConnectionState
    var now: UInt64 = 1_000_000_000

    /// A server that has shaken hands, without checksums unless asked for.
    static func server(limits: WireLimits = WireLimits(), checksums: Bool = false) -> Peer {
        var peer = Peer(state: ConnectionState(role: .server, limits: limits, hello: Sae_V1_Hello()))
        _ = peer.receive(helloFrame(checksums: checksums))
        return peer
    }

    /// A client that has shaken hands.
    static func client(limits: WireLimits = WireLimits()) -> Peer {
        var peer = Peer(state: ConnectionState(role: .client, limits: limits, hello: Sae_V1_Hello()))
        _ = peer.state.start()
        _ = peer.receive(helloFrame(checksums: false))
        return peer
    }

    mutating func receive(_ bytes: [UInt8]) -> [String] {
        let now = now
        return bytes.withUnsafeBytes { state.receive($0, now: now) }.flatMap(words)
    }

    /// Each action in a few words; what is sent is decoded again.
    private func words(_ action: ConnectionAction) -> [String] {
        switch action {
        case .send(let bytes): sentFrames(bytes).map { "send \($0)" }
        case .opened: ["opened"]
        case .rejected: ["rejected"]
        case .call(let call): ["call \(call.stream) \(call.method.name)"]
        case .refused(let stream, _, let failure):
            sentFrames(ConnectionState.encodedEnd(stream: stream, failure, withCRC: state.usesCRC)).map { "send \($0)" }
        case .message(let stream, let frame):
            ["message \(stream) \(frame.payloadCount)\(frame.header.flags.contains(.last) ? " last" : "")"]
        case .halfClosed(let stream): ["half-closed \(stream)"]
        case .credited(let stream): ["credited \(stream) \(state.sendWindow(of: stream) ?? -1)"]
        case .ended(let stream): ["ended \(stream)"]
        case .cancelled(let stream): ["cancelled \(stream)"]
        case .answer(let frame): ["answer \(frame.header.stream)"]
        case .failed(let stream, let failure): ["failed \(stream) \(failure.code.name)\(failure.isRefused ? " refused" : "")"]
        case .goAway(let code, let message): ["goaway \(code.name) \(message.reason)"]
        case .close(let reason): ["close \(reason)"]
        }
    }
}
