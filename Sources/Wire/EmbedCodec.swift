/// EmbedRequest as the daemon needs it, decoded without the generated type: it stops at the first length over
/// the limits, and its array is reused.
package struct EmbedRequestFields: Sendable {
    package var lengths: [UInt32] = []
    package var encoding: UInt32 = 0
    package var dimensions: UInt32 = 0
    package var truncate = false
    package var ifGeneration: UInt64 = 0
    package var wantPieces = false
    package var temperature: Float = 0

    package enum Failure: Error, Equatable {
        /// Not a protobuf message of this shape.
        case malformed
        /// More lengths than `maximumTexts`.
        case tooManyTexts
    }

    package init() {}

    /// Replaces all fields by those in `bytes`. Unknown fields are skipped; the last value of a field counts.
    package mutating func decode(
        _ bytes: UnsafeRawBufferPointer, maximumTexts: Int
    ) throws(Failure) {
        let lengths = self.lengths
        self = EmbedRequestFields()
        self.lengths = lengths
        self.lengths.removeAll(keepingCapacity: true)
        var reader = ProtobufReader(bytes)
        while let key = try reader.key() {
            switch (key.field, key.type) {
            case (1, .bytes):
                var packed = try reader.bytes()
                while !packed.isAtEnd { try append(try packed.varint(), maximumTexts) }
            case (1, .varint): try append(try reader.varint(), maximumTexts)
            case (2, .varint): encoding = UInt32(truncatingIfNeeded: try reader.varint())
            case (3, .varint): dimensions = UInt32(truncatingIfNeeded: try reader.varint())
            case (4, .varint): truncate = try reader.varint() != 0
            case (5, .fixed64): ifGeneration = try reader.fixed64()
            case (6, .varint): wantPieces = try reader.varint() != 0
            case (7, .fixed32): temperature = Float(bitPattern: try reader.fixed32())
            default: try reader.skip(key.type)
            }
        }
    }

    private mutating func append(_ value: UInt64, _ maximumTexts: Int) throws(Failure) {
        guard lengths.count < maximumTexts else { throw .tooManyTexts }
        lengths.append(UInt32(truncatingIfNeeded: value))
    }
}

/// The four wire types of proto3, read in order and never past the end.
private struct ProtobufReader {
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
