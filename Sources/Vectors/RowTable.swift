import CVectorKernels

/// Quantised rows in memory that somebody else keeps, such as a mapped file: what the engine sums.
///
/// Safe as `Sendable`: read-only, and `owner` keeps the memory.
package struct RowTable: @unchecked Sendable {
    package let dimensions: Int
    package let count: Int
    private let elements: UnsafePointer<Int8>
    private let scales: UnsafePointer<Float>
    private let owner: AnyObject

    /// `elements` is `count × dimensions` int8, `scales` is `count` float32 aligned to 4; `owner` keeps both.
    package init(
        elements: UnsafePointer<Int8>, scales: UnsafePointer<Float>, count: Int, dimensions: Int, owner: AnyObject
    ) {
        self.elements = elements
        self.scales = scales
        self.count = count
        self.dimensions = dimensions
        self.owner = owner
    }

    /// x += Σ_i (weight_i · scale of row i) · row i, rows counted from `first` on (`sae_add_rows`). Every row must be below
    /// `count`.
    package func add(
        _ ids: UnsafeBufferPointer<UInt32>, after first: Int, weights: UnsafePointer<Float>?, using set: InstructionSet,
        to x: UnsafeMutablePointer<Float>
    ) {
        assert(ids.allSatisfy { first + Int($0) < count })
        sae_add_rows(
            set.rawValue, elements + first * dimensions, scales + first, dimensions, ids.baseAddress, weights, ids.count, x)
    }

    package func scale(_ id: Int) -> Float { scales[id] }

    /// The elements of a row before scaling, as numbers.
    package func elements(_ id: Int) -> [Float] {
        (0..<dimensions).map { Float(elements[id * dimensions + $0]) }
    }
}

/// unit = x / |x|; false, and zeros, when |x| is zero or not finite. `x` and `unit` may be the same memory.
package func normalize(
    _ x: UnsafePointer<Float>, count: Int, using set: InstructionSet = .best, into unit: UnsafeMutablePointer<Float>?
) -> Bool {
    sae_normalize(set.rawValue, x, count, unit) == 0
}

/// x += coefficient · elements; each product is added in one rounding.
package func addScaled(_ coefficient: Float, _ elements: [Float], to x: inout [Float]) {
    precondition(elements.count == x.count)
    sae_add_scaled(coefficient, elements, elements.count, &x)
}

/// a · b in the engine's order of additions.
package func dot(_ a: [Float], _ b: [Float]) -> Float {
    precondition(a.count == b.count)
    return sae_dot(a, b, a.count)
}

/// a · b in the engine's order of additions.
package func dot(_ a: UnsafeBufferPointer<Float>, _ b: UnsafeBufferPointer<Float>) -> Float {
    precondition(a.count == b.count)
    return sae_dot(a.baseAddress, b.baseAddress, a.count)
}
