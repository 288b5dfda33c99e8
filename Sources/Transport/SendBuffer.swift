/// Bytes on their way out, at a fixed address, so that a worker can write an answer where `writev` will read it.
///
/// The live bytes are `start..<end`; the room before `start` takes a header whose size is known only when
/// the rest stands.
///
/// Safe as `Sendable`: one owner at a time, handed from worker to I/O queue.
package final class SendBuffer: @unchecked Sendable {
    package let base: UnsafeMutableRawPointer
    package let capacity: Int
    package var start: Int
    package var end: Int

    /// Uninitialised memory of `headroom + count` bytes, of which the last `count` are live.
    package init(headroom: Int, count: Int) {
        capacity = headroom + count
        base = .allocate(byteCount: max(capacity, 1), alignment: 16)
        start = headroom
        end = capacity
    }

    package convenience init(_ bytes: [UInt8]) {
        self.init(headroom: 0, count: bytes.count)
        bytes.withUnsafeBytes { body.copyMemory(from: $0) }
    }

    deinit { base.deallocate() }

    package var count: Int { end - start }

    /// The live bytes.
    package var body: UnsafeMutableRawBufferPointer { .init(start: base + start, count: end - start) }

    /// Puts `bytes` directly before the live ones. False when the headroom is too small.
    package func prepend(_ bytes: [UInt8]) -> Bool {
        guard bytes.count <= start else { return false }
        start -= bytes.count
        bytes.withUnsafeBytes { (base + start).copyMemory(from: $0.baseAddress ?? UnsafeRawPointer(base), byteCount: $0.count) }
        return true
    }
}
