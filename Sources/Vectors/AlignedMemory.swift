/// Memory for kernels: aligned to 128 bytes, zero at first, freed with the object.
///
/// Safe as `Sendable`: shared memory is filled by the initialiser that makes it and only read afterwards; all
/// other belongs to one session, and so to one thread.
package final class AlignedMemory<Element: BitwiseCopyable>: @unchecked Sendable {
    package private(set) var base: UnsafeMutablePointer<Element>
    package private(set) var count: Int

    package init(count: Int) {
        self.count = count
        base = Self.allocate(count)
    }

    deinit { base.deallocate() }

    /// Makes room for `count` elements; what was held is lost when it grows.
    package func reserve(_ count: Int) {
        guard count > self.count else { return }
        base.deallocate()
        self.count = count
        base = Self.allocate(count)
    }

    private static func allocate(_ count: Int) -> UnsafeMutablePointer<Element> {
        let bytes = max(count, 1) * MemoryLayout<Element>.stride
        let memory = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 128)
        memory.initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
        return memory.bindMemory(to: Element.self, capacity: max(count, 1))
    }
}
