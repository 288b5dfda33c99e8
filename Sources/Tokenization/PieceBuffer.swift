/// The pieces of one text, in storage that is used again for the next.
package struct PieceBuffer: Sendable {
    private var storage: [UInt32] = []
    package private(set) var count = 0

    package init() {}

    /// Ids of the pieces, in order.
    package var ids: ArraySlice<UInt32> { storage[..<count] }

    package func withIDs<R>(_ body: (UnsafeBufferPointer<UInt32>) -> R) -> R {
        storage.withUnsafeBufferPointer { body(UnsafeBufferPointer(rebasing: $0[..<count])) }
    }

    /// Lets `body` write up to `capacity` ids; it returns how many it wrote. Allocates only to grow.
    mutating func fill(capacity: Int, _ body: (UnsafeMutablePointer<UInt32>) -> Int) {
        if storage.count < capacity {
            storage.append(contentsOf: repeatElement(0, count: capacity - storage.count))
        }
        count = storage.withUnsafeMutableBufferPointer { buffer in
            buffer.baseAddress.map(body) ?? 0
        }
    }
}
