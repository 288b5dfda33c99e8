package import CVectorKernels
import Vectors

/// Records in memory that somebody else keeps, such as a mapped file: what lexemes and phrases carry (algorithm.md,
/// section 2). Record ids below the vocabulary's count are lexemes, the others phrases.
///
/// A record, byte by byte, padded with zeros to a multiple of 64:
/// ```
///   E int8 × D · q int8 × r · m int8 × s · k int8 × s · l int8 × c · h int8 × c ·
///   the scales of E, q, m, k, l and h, then b: 7 × binary32
/// ```
/// Safe as `Sendable`: read-only, and `owner` keeps the memory.
package struct RecordTable: @unchecked Sendable {
    package let shape: ModelShape
    package let count: Int
    private let base: UnsafePointer<UInt8>
    private let owner: AnyObject

    /// `base` is `count` records, 64-byte aligned; `owner` keeps them.
    package init(shape: ModelShape, base: UnsafePointer<UInt8>, count: Int, owner: AnyObject) {
        (self.shape, self.base, self.count, self.owner) = (shape, base, count, owner)
    }

    /// The first so many records, as they lie in memory; valid as long as the owner.
    package func bytes(ofFirst count: Int) -> UnsafeRawBufferPointer {
        precondition(count <= self.count)
        return UnsafeRawBufferPointer(start: base, count: count * shape.recordBytes)
    }

    /// As the kernels take it.
    package var columns: sae_records {
        sae_records(
            base: base, stride: shape.recordBytes, D: shape.dimensions, r: shape.contextRank, s: shape.neighbourRank,
            c: shape.couplingCount)
    }

    /// The meaning of a record: its scale, and its elements before scaling.
    package func meaning(_ id: Int) -> (scale: Float, elements: [Float]) {
        part(id, at: 0, count: shape.dimensions, number: 0)
    }

    /// The left part of a record in couplings.
    package func left(_ id: Int) -> (scale: Float, elements: [Float]) {
        part(id, at: shape.recordElementCount - 2 * shape.couplingCount, count: shape.couplingCount, number: 4)
    }

    /// The right part of a record in couplings.
    package func right(_ id: Int) -> (scale: Float, elements: [Float]) {
        part(id, at: shape.recordElementCount - shape.couplingCount, count: shape.couplingCount, number: 5)
    }

    /// How the weight of a record answers the context.
    package func contextAnswer(_ id: Int) -> (scale: Float, elements: [Float]) {
        part(id, at: shape.dimensions, count: shape.contextRank, number: 1)
    }

    /// How the weight of a record answers its neighbours.
    package func neighbourAnswer(_ id: Int) -> (scale: Float, elements: [Float]) {
        part(id, at: shape.dimensions + shape.contextRank, count: shape.neighbourRank, number: 2)
    }

    /// How a record moves the weights of its neighbours.
    package func neighbourInfluence(_ id: Int) -> (scale: Float, elements: [Float]) {
        part(
            id, at: shape.dimensions + shape.contextRank + shape.neighbourRank, count: shape.neighbourRank, number: 3)
    }

    /// A record's own log-weight, b.
    package func bias(_ id: Int) -> Float { number(id, 6) }

    /// The first record with a scale or weight that is not a finite number, or a negative scale of E; or nil.
    package var firstUnusable: Int? {
        (0..<count).first { id in (0..<7).contains { !number(id, $0).isFinite } || number(id, 0) < 0 }
    }

    private func number(_ id: Int, _ index: Int) -> Float {
        let place = base + id * shape.recordBytes + shape.recordElementCount + 4 * index
        return UnsafeRawPointer(place).load(as: Float.self)
    }

    private func part(_ id: Int, at first: Int, count: Int, number index: Int) -> (scale: Float, elements: [Float]) {
        let bytes = base + id * shape.recordBytes + first
        return (number(id, index), (0..<count).map { Float(Int8(bitPattern: bytes[$0])) })
    }
}

extension ModelShape {
    /// Elements of a record: E, q, m, k, l and h.
    package var recordElementCount: Int { dimensions + contextRank + 2 * neighbourRank + 2 * couplingCount }
    /// Bytes from record to record.
    package var recordBytes: Int { (recordElementCount + 7 * 4 + 63) / 64 * 64 }
}

/// Records in memory of their own, as a file will hold them.
package struct PackedRecords: Sendable, Equatable {
    package let shape: ModelShape
    package private(set) var bytes: [UInt8] = []
    package var count: Int { bytes.count / shape.recordBytes }

    package init(shape: ModelShape) { self.shape = shape }

    package mutating func removeLast(_ count: Int) { bytes.removeLast(count * shape.recordBytes) }

    /// Appends a record: its parts E, q, m, k, l and h in a row, each quantised with one scale, and its b.
    package mutating func append(_ elements: some Collection<Float>, bias: Float) {
        precondition(elements.count == shape.recordElementCount)
        let start = bytes.count
        var scales: [Float] = []
        var rest = elements[...]
        for size in [shape.dimensions, shape.contextRank, shape.neighbourRank, shape.neighbourRank, shape.couplingCount, shape.couplingCount] {
            let part = QuantizedRows(quantizing: Array(rest.prefix(size)), dimensions: max(1, size))
            rest = rest.dropFirst(size)
            bytes.append(contentsOf: part.elements.map { UInt8(bitPattern: $0) })
            scales.append(part.scales.first ?? 0)
        }
        for value in scales + [bias] {
            withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes.append(contentsOf: $0) }
        }
        bytes.append(contentsOf: repeatElement(0, count: shape.recordBytes - (bytes.count - start)))
    }
}
