import CVectorKernels
package import Programs

extension ModelShape {
    var kernelShape: sae_fit_shape {
        sae_fit_shape(D: dimensions, r: contextRank, s: neighbourRank, c: couplingCount)
    }

    /// Floats a record: E, q, m, k, l, h, and b in the first of 16.
    package var recordWidth: Int { sae_fit_width(kernelShape) }
}

/// Where the parts that all texts share lie in one column of floats.
struct DenseLayout {
    /// r × D.
    let projection: Range<Int>
    /// 4 × s.
    let neighbours: Range<Int>
    /// 2 × c.
    let couplings: Range<Int>
    /// H × (D + c).
    let rules: Range<Int>
    /// H.
    let thresholds: Range<Int>
    /// H × D.
    let ruleVectors: Range<Int>
    /// c × D.
    let lift: Range<Int>
    let count: Int

    init(_ shape: ModelShape) {
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
