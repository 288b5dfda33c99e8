import Bytes

/// Builds frames as bytes.
package enum FrameEncoder {
    /// Appends one frame. `header`'s lengths and crc are filled in here; the caller sets type, flags, method,
    /// stream and argument.
    package static func append(
        _ header: FrameHeader, message: some Collection<UInt8> = [], attachment: some Collection<UInt8> = [],
        withCRC: Bool, to out: inout [UInt8]
    ) {
        let start = begin(header, to: &out)
        out.append(contentsOf: message)
        let messageLength = out.count - start - FrameHeader.byteCount
        out.append(contentsOf: attachment)
        finish(at: start, messageLength: messageLength, withCRC: withCRC, in: &out)
    }

    /// Appends a header whose lengths `finish` will set; the caller appends the payload in between.
    package static func begin(_ header: FrameHeader, to out: inout [UInt8]) -> Int {
        let start = out.count
        var writer = ByteWriter()
        writer.append(contentsOf: FrameHeader.magic)
        writer.append(header.type.rawValue)
        writer.append(header.flags.rawValue)
        writer.append(header.method)
        writer.append(header.stream)
        writer.append(UInt32(0))
        writer.append(UInt32(0))
        writer.append(header.argument)
        writer.append(UInt32(0))
        out.append(contentsOf: writer.bytes)
        return start
    }

    /// Sets lengths, flag and checksum of the frame that began at `start` and ends at the end of `out`.
    package static func finish(at start: Int, messageLength: Int, withCRC: Bool, in out: inout [UInt8]) {
        let payloadLength = out.count - start - FrameHeader.byteCount
        precondition(messageLength <= payloadLength && payloadLength <= Int(UInt32.max))
        out.withUnsafeMutableBytes { bytes in
            bytes.storeBytes(of: UInt32(payloadLength).littleEndian, toByteOffset: start + 12, as: UInt32.self)
            bytes.storeBytes(of: UInt32(messageLength).littleEndian, toByteOffset: start + 16, as: UInt32.self)
            guard withCRC else { return }
            bytes[start + 5] |= FrameFlags.crc.rawValue
            let head = UnsafeRawBufferPointer(rebasing: bytes[start..<start + 24])
            let payload = UnsafeRawBufferPointer(rebasing: bytes[(start + FrameHeader.byteCount)...])
            let crc = crc32c(payload, seed: crc32c(head))
            bytes.storeBytes(of: crc.littleEndian, toByteOffset: start + 24, as: UInt32.self)
        }
    }
}
