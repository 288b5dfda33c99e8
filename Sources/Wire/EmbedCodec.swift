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
