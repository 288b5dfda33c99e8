import CVectorKernels
package import Programs

extension ModelShape {
    /// Floats a record: E, q, m, k, l, h, and b in the first of 16.
    package var recordWidth: Int { sae_fit_width(kernelShape) }
}

/// Where the parts that all texts share lie in one column of floats.
package struct DenseLayout {
    /// r × D.
    package let projection: Range<Int>
    /// 4 × s.
    package let neighbours: Range<Int>
    /// 2 × c.
    package let couplings: Range<Int>
    /// H × (D + c).
    package let rules: Range<Int>
    /// H.
    package let thresholds: Range<Int>
    /// H × D.
    package let ruleVectors: Range<Int>
    /// c × D.
    package let lift: Range<Int>
    package let count: Int

    package init(_ shape: ModelShape) {
        var end = 0
        func next(_ count: Int) -> Range<Int> {
            defer { end += count }
            return end..<end + count
        }
        projection = next(shape.contextRank * shape.dimensions)
        neighbours = next(4 * shape.neighbourRank)
        couplings = next(2 * shape.couplingCount)
        rules = next(shape.ruleCount * shape.featureCount)
        thresholds = next(shape.ruleCount)
        ruleVectors = next(shape.ruleCount * shape.dimensions)
        lift = next(shape.couplingCount * shape.dimensions)
        count = end
    }
}
