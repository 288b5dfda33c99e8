/// Appends little-endian integers and raw bytes to an array.
package struct ByteWriter {
    package private(set) var bytes: [UInt8] = []

    package init() {}

    // One function a type, as in `ByteReader`.
    package mutating func append(_ value: UInt8) { bytes.append(value) }
    package mutating func append(_ value: UInt16) { store(value) }
    package mutating func append(_ value: UInt32) { store(value) }
    package mutating func append(_ value: UInt64) { store(value) }
    package mutating func append(_ value: Int32) { store(value) }
    package mutating func append(_ value: Int64) { store(value) }
    package mutating func append(_ value: Float) { store(value.bitPattern) }

    @inline(__always)
    private mutating func store<T: FixedWidthInteger>(_ value: T) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    package mutating func append(contentsOf more: [UInt8]) { bytes.append(contentsOf: more) }

    package mutating func append(contentsOf more: UnsafeRawBufferPointer) { bytes.append(contentsOf: more) }

    package mutating func append(contentsOf more: some Sequence<UInt8>) { bytes.append(contentsOf: more) }

    /// Appends zeros until the count is a multiple of `alignment`.
    package mutating func pad(to alignment: Int) {
        while bytes.count % alignment != 0 { bytes.append(0) }
    }
}
