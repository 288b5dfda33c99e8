package import CVectorKernels

/// Records in memory that somebody else keeps, such as a mapped file: what lexemes and phrases carry (algorithm.md,
/// section 2). Record ids below the vocabulary's count are lexemes, the others phrases.
///
/// A record, byte by byte, padded with zeros to a multiple of 64:
/// ```
///   E int8 × D · q 4 bits × r · m 4 bits × s · k 4 bits × s · l 4 bits × c · h 4 bits × c ·
///   the scale of E: binary32 · the scales of q, m, k, l and h, then b: 6 × the upper half of a binary32
/// ```
/// Of 16 elements of 4 bits, byte j < 8 holds element j + 8 below and element j + 8 above, 8 added to each.
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
        let record = base + id * shape.recordBytes
        return (meaningScale(id), (0..<shape.dimensions).map { Float(Int8(bitPattern: record[$0])) })
    }

    /// How the weight of a record answers the context.
    package func contextAnswer(_ id: Int) -> (scale: Float, elements: [Float]) {
        part(id, 0, after: 0, count: shape.contextRank)
    }

    /// How the weight of a record answers its neighbours.
    package func neighbourAnswer(_ id: Int) -> (scale: Float, elements: [Float]) {
        part(id, 1, after: shape.contextRank, count: shape.neighbourRank)
    }

    /// How a record moves the weights of its neighbours.
    package func neighbourInfluence(_ id: Int) -> (scale: Float, elements: [Float]) {
        part(id, 2, after: shape.contextRank + shape.neighbourRank, count: shape.neighbourRank)
    }

    /// The left part of a record in couplings.
    package func left(_ id: Int) -> (scale: Float, elements: [Float]) {
        part(id, 3, after: shape.contextRank + 2 * shape.neighbourRank, count: shape.couplingCount)
    }

    /// The right part of a record in couplings.
    package func right(_ id: Int) -> (scale: Float, elements: [Float]) {
        part(id, 4, after: shape.contextRank + 2 * shape.neighbourRank + shape.couplingCount, count: shape.couplingCount)
    }

    /// A record's own log-weight, b.
    package func bias(_ id: Int) -> Float { short(id, 5) }

    /// The first record with a scale or weight that is not a finite number, or a negative scale of E; or nil.
    package var firstUnusable: Int? {
        (0..<count).first { id in
            let scale = meaningScale(id)
            return !scale.isFinite || scale < 0 || (0..<6).contains { !short(id, $0).isFinite }
        }
    }

    private func meaningScale(_ id: Int) -> Float {
        UnsafeRawPointer(base + id * shape.recordBytes + shape.recordNumbersOffset).load(as: Float.self)
    }

    private func short(_ id: Int, _ index: Int) -> Float {
        let place = base + id * shape.recordBytes + shape.recordNumbersOffset + 4 + 2 * index
        return Float(bitPattern: UInt32(UnsafeRawPointer(place).load(as: UInt16.self)) << 16)
    }

    /// Part `index` of those in 4 bits, so many elements of them behind its first.
    private func part(_ id: Int, _ index: Int, after first: Int, count: Int) -> (scale: Float, elements: [Float]) {
        let bytes = base + id * shape.recordBytes + shape.dimensions + first / 2
        return (short(id, index), (0..<count).map { element in
            let byte = bytes[element / 16 * 8 + element % 8]
            return Float(Int(element % 16 < 8 ? byte & 15 : byte >> 4) - 8)
        })
    }
}

extension ModelShape {
    /// Elements of a record: E, q, m, k, l and h.
    package var recordElementCount: Int { dimensions + contextRank + 2 * neighbourRank + 2 * couplingCount }
    /// As the kernels take it.
    package var kernelShape: sae_fit_shape {
        sae_fit_shape(D: dimensions, r: contextRank, s: neighbourRank, c: couplingCount)
    }
    /// Where in a record its scales and b stand.
    package var recordNumbersOffset: Int { dimensions + (recordElementCount - dimensions) / 2 }
    /// Bytes from record to record.
    package var recordBytes: Int { (recordNumbersOffset + Int(SAE_RECORD_NUMBERS) + 63) / 64 * 64 }
}

/// Records in memory of their own, as a file will hold them.
package struct PackedRecords: Sendable, Equatable {
    package let shape: ModelShape
    package private(set) var bytes: [UInt8] = []
    package var count: Int { bytes.count / shape.recordBytes }

    package init(shape: ModelShape) { self.shape = shape }

    package mutating func removeLast(_ count: Int) { bytes.removeLast(count * shape.recordBytes) }

    /// Appends a record: its parts E, q, m, k, l and h in a row, each rounded with one scale, and its b.
    package mutating func append(_ elements: some Collection<Float>, bias: Float) {
        precondition(elements.count == shape.recordElementCount)
        let start = bytes.count
        bytes.append(contentsOf: repeatElement(0, count: shape.recordBytes))
        bytes.withUnsafeMutableBufferPointer { output in
            guard let output = output.baseAddress else { return }
            sae_fit_pack_record(Array(elements) + [bias], shape.kernelShape, output + start)
        }
    }
}
