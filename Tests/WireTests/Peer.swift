import Messages
import SwiftProtobuf
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
        case .call(let call): ["call \(call.stream) \(call.method.name)"]
        case .cancelled(let stream): ["cancelled \(stream)"]
        case .answer(let frame): ["answer \(frame.header.stream)"]
        case .failed(let stream, let failure): ["failed \(stream) \(failure.code.name)\(failure.isRefused ? " refused" : "")"]
        case .goAway(let code, let message): ["goaway \(code.name) \(message.reason)"]
        case .close(let reason): ["close \(reason)"]
        }
    }
}

/// What frames say: type, stream, status and reason.
func sentFrames(_ bytes: [UInt8]) -> [String] {
    var decoder = FrameDecoder(maximumFrameBytes: 4_194_304)
    bytes.withUnsafeBytes { decoder.append($0) }
    var result: [String] = []
    while case .frame(let frame)? = try? decoder.next() {
        let code = StatusCode(rawValue: frame.header.argument)?.name ?? "?"
        switch frame.header.type {
        case .end:
            let limit = wireMessage(Sae_V1_Status.self, frame.message)?.limit ?? "?"
            let refused = frame.header.flags.contains(.refused) ? " refused" : ""
            result.append("END \(frame.header.stream) \(code)\(refused)\(limit.isEmpty ? "" : " " + limit)")
        case .goAway:
            result.append("GOAWAY \(code) \(wireMessage(Sae_V1_GoAway.self, frame.message)?.reason ?? "?")")
        case .ping: result.append(frame.header.flags.contains(.acknowledgement) ? "PONG" : "PING")
        default: result.append("\(frame.header.type)")
        }
    }
    return result
}

func helloFrame(
    checksums: Bool = false, versions: ClosedRange<UInt32> = 1...1, maximumFrameBytes: UInt32 = 65_536,
    window: UInt32 = 65_536, software: String = "test"
) -> [UInt8] {
    let hello = Sae_V1_Hello.with {
        $0.versionMin = versions.lowerBound
        $0.versionMax = versions.upperBound
        $0.maxFrameBytes = maximumFrameBytes
        $0.initialWindow = window
        $0.software = software
        $0.features = checksums ? 1 : 0
    }
    return frame(.hello, message: wireBytes(hello))
}

/// A frame; `edit` may spoil the bytes before they are returned.
func frame(
    _ type: FrameType, flags: FrameFlags = [], method: UInt16 = 0, stream: UInt32 = 0, argument: UInt32 = 0,
    message: [UInt8] = [], attachment: [UInt8] = [], checksum: Bool = false,
    edit: (inout [UInt8]) -> Void = { _ in }
) -> [UInt8] {
    var header = FrameHeader(type, stream: stream)
    header.flags = flags
    header.method = method
    header.argument = argument
    var bytes: [UInt8] = []
    FrameEncoder.append(header, message: message, attachment: attachment, withCRC: checksum, to: &bytes)
    edit(&bytes)
    return bytes
}

/// A REQUEST of Info, the smallest there is.
func request(_ stream: UInt32, method: UInt16 = 6, flags: FrameFlags = .last, checksum: Bool = false) -> [UInt8] {
    frame(.request, flags: flags, method: method, stream: stream, checksum: checksum)
}
