/// Reads little-endian integers and raw bytes in order, never past the end. The caller keeps the bytes alive.
package struct ByteReader {
    private let bytes: UnsafeRawBufferPointer
    package private(set) var offset = 0

    package init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    package var remaining: Int { bytes.count - offset }

    // The next integer, or nil when too few bytes are left (nothing is consumed then). One function a type, because a generic
    // one of another module is not specialised: a million rules took longer to read by it than all else that is done with them.
    package mutating func next(_: UInt8.Type = UInt8.self) -> UInt8? { load() }
    package mutating func next(_: UInt16.Type = UInt16.self) -> UInt16? { load() }
    package mutating func next(_: UInt32.Type = UInt32.self) -> UInt32? { load() }
    package mutating func next(_: UInt64.Type = UInt64.self) -> UInt64? { load() }
    package mutating func next(_: Int64.Type = Int64.self) -> Int64? { load() }

    @inline(__always)
    private mutating func load<T: FixedWidthInteger>() -> T? {
        guard remaining >= MemoryLayout<T>.size else { return nil }
        defer { offset += MemoryLayout<T>.size }
        return T(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: T.self))
    }

    /// The next `count` bytes, or nil when fewer are left.
    package mutating func next(count: Int) -> UnsafeRawBufferPointer? {
        guard count >= 0, remaining >= count else { return nil }
        defer { offset += count }
        return UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + count])
    }
}
