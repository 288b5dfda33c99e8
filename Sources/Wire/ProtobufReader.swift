/// The four wire types of proto3, read in order and never past the end.
struct ProtobufReader {
    enum WireType: UInt64 { case varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 }
    typealias Failure = EmbedRequestFields.Failure

    private let buffer: UnsafeRawBufferPointer
    private var offset = 0

    init(_ buffer: UnsafeRawBufferPointer) { self.buffer = buffer }

    var isAtEnd: Bool { offset == buffer.count }

    mutating func key() throws(Failure) -> (field: UInt64, type: WireType)? {
        guard !isAtEnd else { return nil }
        let value = try varint()
        guard value >> 3 != 0, value <= UInt64(UInt32.max), let type = WireType(rawValue: value & 7) else {
            throw .malformed
        }
        return (value >> 3, type)
    }

    mutating func varint() throws(Failure) -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), through: 63, by: 7) {
            guard offset < buffer.count else { throw .malformed }
            let byte = UInt64(buffer[offset])
            offset += 1
            value |= (byte & 0x7f) << shift
            if byte < 0x80 { return value }
        }
        throw .malformed
    }

    mutating func fixed32() throws(Failure) -> UInt32 { UInt32(littleEndian: try load()) }
    mutating func fixed64() throws(Failure) -> UInt64 { UInt64(littleEndian: try load()) }

    mutating func bytes() throws(Failure) -> ProtobufReader {
        let count = try varint()
        guard count <= UInt64(buffer.count - offset) else { throw .malformed }
        defer { offset += Int(count) }
        return ProtobufReader(UnsafeRawBufferPointer(rebasing: buffer[offset..<offset + Int(count)]))
    }

    mutating func skip(_ type: WireType) throws(Failure) {
        switch type {
        case .varint: _ = try varint()
        case .fixed64: _ = try fixed64()
        case .bytes: _ = try bytes()
        case .fixed32: _ = try fixed32()
        }
    }

    private mutating func load<T: FixedWidthInteger>() throws(Failure) -> T {
        guard buffer.count - offset >= MemoryLayout<T>.size else { throw .malformed }
        defer { offset += MemoryLayout<T>.size }
        return buffer.loadUnaligned(fromByteOffset: offset, as: T.self)
    }
}
