/// Sizes of a model, in the symbols of algorithm.md: D, r, s, c and H, each a multiple of 16. A size of 0 leaves its family
/// out; with r, s, c and H at 0 the model is a plain bag of pieces.
package struct ModelShape: Sendable, Equatable {
    /// D: length of a vector.
    package var dimensions: Int
    /// r: rank of the context gate.
    package var contextRank: Int
    /// s: rank of the neighbour gate.
    package var neighbourRank: Int
    /// c: features of the couplings.
    package var couplingCount: Int
    /// H: context rules.
    package var ruleCount: Int

    package init(dimensions: Int, contextRank: Int, neighbourRank: Int, couplingCount: Int, ruleCount: Int) {
        self.dimensions = dimensions
        self.contextRank = contextRank
        self.neighbourRank = neighbourRank
        self.couplingCount = couplingCount
        self.ruleCount = ruleCount
    }

    /// A bag of pieces.
    package init(dimensions: Int) {
        self.init(dimensions: dimensions, contextRank: 0, neighbourRank: 0, couplingCount: 0, ruleCount: 0)
    }

    /// k = D + c: what context rules bid on.
    package var featureCount: Int { dimensions + couplingCount }
    package var hasGates: Bool { contextRank > 0 || neighbourRank > 0 }

    /// What is wrong with the sizes, or nil.
    package var problem: String? {
        for (name, size, most) in [
            ("dimensions", dimensions, 1_024), ("context rank", contextRank, 256), ("neighbour rank", neighbourRank, 256),
            ("couplings", couplingCount, 1_024), ("context rules", ruleCount, 65_536),
        ] where size < 0 || size % 16 != 0 || size > most {
            return "\(size) \(name): must be a multiple of 16 up to \(most)"
        }
        return dimensions > 0 ? nil : "no dimensions"
    }

    package var summary: String {
        "dimensions \(dimensions), context rank \(contextRank), neighbour rank \(neighbourRank), "
            + "couplings \(couplingCount), context rules \(ruleCount)"
    }
}
