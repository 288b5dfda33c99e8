/// The header of every frame: 28 bytes, little-endian, unsigned.
///
/// ```
/// offset  0      4     5      6       8          12           16           20    24
///         "SAE1" type  flags  method  stream id  payload len  message len  arg   crc32c
/// bytes   4      1     1      2       4          4            4            4     4
/// ```
/// Then the payload: the protobuf message (`messageLength` bytes), then the attachment. `crc` is the CRC-32C
/// of header bytes 0 to 23 and the payload when the flag CRC is set, else 0.
package struct FrameHeader: Sendable, Equatable {
    package var type: FrameType
    package var flags: FrameFlags = []
    package var method: UInt16 = 0
    package var stream: UInt32 = 0
    package var payloadLength: UInt32 = 0
    package var messageLength: UInt32 = 0
    package var argument: UInt32 = 0
    package var crc: UInt32 = 0

    package static let byteCount = 28
    package static let magic: [UInt8] = Array("SAE1".utf8)

    package init(_ type: FrameType, stream: UInt32 = 0) {
        self.type = type
        self.stream = stream
    }
}

package enum FrameType: UInt8, Sendable {
    case hello = 1
    case request, message, end, cancel, credit, ping, goAway
}

package struct FrameFlags: OptionSet, Sendable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }

    /// This half of the stream ends here, in the server's case with status OK (REQUEST, MESSAGE).
    package static let last = FrameFlags(rawValue: 1)
    /// The crc field holds a checksum.
    package static let crc = FrameFlags(rawValue: 2)
    /// Nothing was begun: safe to repeat (END).
    package static let refused = FrameFlags(rawValue: 4)
    /// The answer to a PING.
    package static let acknowledgement = FrameFlags(rawValue: 8)
}

/// One unit on the wire.
package struct Frame: Sendable, Equatable {
    package var header: FrameHeader
    /// The payload's two parts, each in memory of its own, so that an attachment can be handed on without a copy.
    package var message: [UInt8]
    package var attachment: [UInt8]

    /// Bytes of both.
    package var payloadCount: Int { message.count + attachment.count }

    package init(header: FrameHeader, message: [UInt8], attachment: [UInt8]) {
        self.header = header
        self.message = message
        self.attachment = attachment
    }
}

/// A breach of the protocol: the peer gets a GOAWAY with these, then the connection ends.
package struct Violation: Error, Sendable, Equatable {
    package var code: StatusCode
    /// The reason of the specification's table: `bad_magic`, `bad_frame`, …
    package var reason: String

    package init(_ code: StatusCode, _ reason: String) {
        self.code = code
        self.reason = reason
    }

    package static let badMagic = Violation(.internal, "bad_magic")
    package static let badFrame = Violation(.internal, "bad_frame")
    package static let badCRC = Violation(.internal, "bad_crc")
    package static let flowControl = Violation(.internal, "flow_control")
    package static let frameTooLarge = Violation(.invalidArgument, "frame_too_large")
    package static let controlFlood = Violation(.resourceExhausted, "control_flood")
    package static let unsupportedVersion = Violation(.unimplemented, "unsupported_version")
}
