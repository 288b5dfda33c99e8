package import Messages
import SwiftProtobuf
package import Wire

/// What frames say: type, stream, status, reason or limit.
package func sentFrames(_ bytes: [UInt8]) -> [String] {
    var decoder = FrameDecoder(maximumFrameBytes: 4_194_304)
    return bytes.withUnsafeBytes { bytes in
        var (rest, result) = (bytes, [String]())
        while case .frame(let frame)? = try? decoder.next(&rest) { result.append(words(frame)) }
        return result
    }
}

extension FrameDecoder {
    /// The frames that are whole with `bytes`, all of which are taken.
    package mutating func frames(in bytes: some Sequence<UInt8>) throws(Violation) -> [Frame] {
        var result: [Frame] = []
        var violation: Violation?
        Array(bytes).withUnsafeBytes { bytes in
            var rest = bytes
            do throws(Violation) {
                while let event = try next(&rest) {
                    if case .frame(let frame) = event { result.append(frame) }
                }
            } catch {
                violation = error
            }
        }
        if let violation { throw violation }
        return result
    }
}

/// What one frame says.
package func words(_ frame: Frame) -> String {
    let code = StatusCode(rawValue: frame.header.argument)?.name ?? "?"
    switch frame.header.type {
    case .end:
        let limit = wireMessage(Sae_V1_Status.self, frame.message)?.limit ?? "?"
        let refused = frame.header.flags.contains(.refused) ? " refused" : ""
        return "END \(frame.header.stream) \(code)\(refused)\(limit.isEmpty ? "" : " " + limit)"
    case .goAway: return "GOAWAY \(code) \(wireMessage(Sae_V1_GoAway.self, frame.message)?.reason ?? "?")"
    case .ping: return frame.header.flags.contains(.acknowledgement) ? "PONG" : "PING"
    default: return "\(frame.header.type)"
    }
}

package func helloFrame(
    checksums: Bool = false, versions: ClosedRange<UInt32> = 1...1, maximumFrameBytes: UInt32 = 65_536,
    window: UInt32 = 65_536, software: String = "test", token: String = ""
) -> [UInt8] {
    let hello = Sae_V1_Hello.with {
        $0.versionMin = versions.lowerBound
        $0.versionMax = versions.upperBound
        $0.maxFrameBytes = maximumFrameBytes
        $0.initialWindow = window
        $0.software = software
        $0.token = token
        $0.features = checksums ? 1 : 0
    }
    return frame(.hello, message: wireBytes(hello))
}

/// A frame; `edit` may spoil the bytes before they are returned.
package func frame(
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
package func request(_ stream: UInt32, method: UInt16 = 6, flags: FrameFlags = .last, checksum: Bool = false) -> [UInt8] {
    frame(.request, flags: flags, method: method, stream: stream, checksum: checksum)
}

/// A REQUEST of Embed; `timeout` in microseconds.
package func embedRequest(
    _ stream: UInt32, _ texts: [[UInt8]], timeout: UInt32 = 0, checksum: Bool = false,
    _ options: (inout Sae_V1_EmbedRequest) -> Void = { _ in }
) -> [UInt8] {
    var message = Sae_V1_EmbedRequest.with { $0.lengths = texts.map { UInt32($0.count) } }
    options(&message)
    return frame(
        .request, flags: .last, method: Method.embed.rawValue, stream: stream, argument: timeout,
        message: wireBytes(message), attachment: Array(texts.joined()), checksum: checksum)
}

/// As above, for texts of characters.
package func embedRequest(_ stream: UInt32, _ texts: [String], timeout: UInt32 = 0) -> [UInt8] {
    embedRequest(stream, texts.map { Array($0.utf8) }, timeout: timeout)
}
