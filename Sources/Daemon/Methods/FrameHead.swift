import Bytes
import Wire

extension FrameEncoder {
    /// The header of a frame whose message and attachment stay where they are; its checksum covers both.
    static func head(
        _ header: FrameHeader, message: [UInt8], attachment: UnsafeRawBufferPointer, withCRC: Bool
    ) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(FrameHeader.byteCount + message.count)
        _ = begin(header, to: &bytes)
        bytes.withUnsafeMutableBytes { bytes in
            let payload = UInt32(message.count + attachment.count)
            bytes.storeBytes(of: payload.littleEndian, toByteOffset: 12, as: UInt32.self)
            bytes.storeBytes(of: UInt32(message.count).littleEndian, toByteOffset: 16, as: UInt32.self)
            guard withCRC else { return }
            bytes[5] |= FrameFlags.crc.rawValue
            let start = crc32c(UnsafeRawBufferPointer(rebasing: bytes[..<24]))
            let middle = message.withUnsafeBytes { crc32c($0, seed: start) }
            let crc = crc32c(attachment, seed: middle)
            bytes.storeBytes(of: crc.littleEndian, toByteOffset: 24, as: UInt32.self)
        }
        return bytes
    }
}

/// Writes protobuf fields of an answer without building a message object: the hot path's encoder.
struct FieldWriter {
    private(set) var bytes: [UInt8] = []

    /// A number; 0 is left out, as proto3 does.
    mutating func number(_ field: UInt64, _ value: UInt64) {
        guard value != 0 else { return }
        varint(field << 3)
        varint(value)
    }

    mutating func fixed64(_ field: UInt64, _ value: UInt64) {
        guard value != 0 else { return }
        varint(field << 3 | 1)
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    /// Bytes of a string or an inner message.
    mutating func bytes(_ field: UInt64, _ value: [UInt8]) {
        varint(field << 3 | 2)
        varint(UInt64(value.count))
        bytes.append(contentsOf: value)
    }

    mutating func packed(_ field: UInt64, _ values: [UInt32]) {
        guard !values.isEmpty else { return }
        var inner = FieldWriter()
        for value in values { inner.varint(UInt64(value)) }
        bytes(field, inner.bytes)
    }

    private mutating func varint(_ value: UInt64) {
        var value = value
        while value >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: value) | 0x80)
            value >>= 7
        }
        bytes.append(UInt8(value))
    }
}
