package import Vectors

/// All numbers of a model that a program's meaning depends on, in the symbols of algorithm.md, sections 2 to 5.
package struct ModelTables: Sendable {
    package let shape: ModelShape
    /// Pieces of the vocabulary: records below are lexemes, the others phrases.
    package let vocabularyCount: Int
    package let records: RecordTable
    /// P, r rows of D.
    package let projection: RowTable
    /// d, 4 × s: how the neighbours at −2, −1, +1 and +2 answer.
    package let neighbours: [Float]
    /// e, 2 × c: how couplings at +1 and +2 count.
    package let couplings: [Float]
    /// K, H rows of D + c.
    package let rules: RowTable
    /// θ, H.
    package let thresholds: [Float]
    /// c rows of D, the columns of U; then H rows of D, the vectors of the context rules, V.
    package let lifts: RowTable
    /// The temperature of the gates that the model was made for.
    package let temperature: Float

    package init(
        shape: ModelShape, vocabularyCount: Int, records: RecordTable, projection: RowTable, neighbours: [Float],
        couplings: [Float], rules: RowTable, thresholds: [Float], lifts: RowTable, temperature: Float
    ) {
        precondition(projection.count == shape.contextRank && neighbours.count == 4 * shape.neighbourRank)
        precondition(couplings.count == 2 * shape.couplingCount && rules.count == shape.ruleCount)
        precondition(thresholds.count == shape.ruleCount && lifts.count == shape.couplingCount + shape.ruleCount)
        self.shape = shape
        self.vocabularyCount = vocabularyCount
        self.records = records
        self.projection = projection
        self.neighbours = neighbours
        self.couplings = couplings
        self.rules = rules
        self.thresholds = thresholds
        self.lifts = lifts
        self.temperature = temperature
    }
}
