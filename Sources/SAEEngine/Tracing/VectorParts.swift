import Programs
import Vectors

/// The vector of a text as a sum (algorithm.md, sections 3 to 5):
///
///     vector = Σ_i w_i E_i / (|x| |y|) + Σ_pairs U f / |y| + Σ_r bid_r V_r / |y|
///
/// with weights, features and bids as `IntegerSum` rounds them, x the weighted sum of the items, f the features of one coupling, and y the sum of all three before it is made
/// unit. So its product with any direction is a sum over items, couplings and rules too.
package struct VectorParts: Sendable {
    /// A row of D for each item.
    package let items: [[Float]]
    package let couplings: [(left: Int, right: Int, offset: Int)]
    /// A row of c for each coupling: f / |y|, as f takes part.
    package let features: [[Float]]
    /// Rules that fired, with bid / |y|.
    package let rules: [(rule: UInt32, weight: Float)]
    private let tables: ModelTables

    /// - Parameters:
    ///   - sumLength: |x|.
    ///   - length: |y|.
    init(_ program: FinalProgram, tables: ModelTables, sumLength: Float, length: Float) {
        self.tables = tables
        let meanings = program.items.map { tables.records.meaning(Int($0.id)) }
        let weighted = IntegerSum.rounded(zip(program.items, meanings).map { $0.weight * $1.scale })
        items = zip(meanings, weighted).map { meaning, coefficient in
            let factor = coefficient / (sumLength * length)
            return meaning.elements.map { factor * $0 }
        }
        let scales = program.fired.map { tables.lifts.scale(tables.shape.couplingCount + Int($0.rule)) }
        let bids = IntegerSum.rounded(zip(program.fired, scales).map { $0.bid * $1 })
        rules = program.fired.indices.map { (program.fired[$0].rule, scales[$0] > 0 ? bids[$0] / (scales[$0] * length) : 0) }
        let ids = program.items.map(\.id)
        guard program.isCoupled, tables.shape.couplingCount > 0 else {
            (couplings, features) = ([], [])
            return
        }
        couplings = ids.indices.flatMap { left in
            (1...2).filter { left + $0 < ids.count }.map { (left, left + $0, $0) }
        }
        let scale = couplingScale(itemCount: ids.count)
        let whole = couplings.map { left, right, offset in
            Self.feature(Int(ids[left]), Int(ids[right]), offset, scale: scale, tables)
        }
        // The sum of the features is what is rounded: each coupling has its share of that.
        let sums = (0..<tables.shape.couplingCount).map { j in whole.reduce(0) { $0 + $1[j] } * tables.lifts.scale(j) }
        let rounded = IntegerSum(rounding: sums, levels: IntegerSum.featureLevels).values
        let shares = zip(rounded, sums).map { $1 == 0 ? 0 : $0 / ($1 * length) }
        features = whole.map { zip($0, shares).map { $0 * $1 } }
    }

    /// scale · e_o ⊙ l ⊙ h.
    private static func feature(
        _ left: Int, _ right: Int, _ offset: Int, scale: Float, _ tables: ModelTables
    ) -> [Float] {
        let (l, h) = (tables.records.left(left), tables.records.right(right))
        let factor = scale * l.scale * h.scale
        let first = (offset - 1) * tables.shape.couplingCount
        return l.elements.indices.map { factor * tables.couplings[first + $0] * l.elements[$0] * h.elements[$0] }
    }

    /// What each part gives to the product of the vector with `direction`, a row of D.
    package func products(with direction: [Float]) -> (items: [Float], couplings: [Float], rules: [Float]) {
        let lifted = (0..<tables.shape.couplingCount).map { liftProduct($0, direction) }
        return (
            items.map { dot($0, direction) }, features.map { dot($0, lifted) },
            rules.map { $0.weight * liftProduct(tables.shape.couplingCount + Int($0.rule), direction) }
        )
    }

    /// The items', the couplings' and the rules' part of the vector: three rows of D that add up to it.
    package var families: (items: [Float], couplings: [Float], rules: [Float]) {
        var (x, z, v) = (zeros, zeros, zeros)
        for item in items { addScaled(1, item, to: &x) }
        for feature in 0..<tables.shape.couplingCount {
            addLift(feature, features.reduce(0) { $0 + $1[feature] }, to: &z)
        }
        for (rule, weight) in rules { addLift(tables.shape.couplingCount + Int(rule), weight, to: &v) }
        return (x, z, v)
    }

    /// Length of each coupling's part of the vector: √(fᵀ (Uᵀ U) f).
    var couplingLengths: [Float] {
        let columns = (0..<tables.shape.couplingCount).map { feature in
            let scale = tables.lifts.scale(feature)
            return tables.lifts.elements(feature).map { scale * $0 }
        }
        let gram = columns.map { column in columns.map { dot(column, $0) } }
        return features.map { f in max(0, dot(f, gram.map { dot($0, f) })).squareRoot() }
    }

    private var zeros: [Float] { [Float](repeating: 0, count: tables.shape.dimensions) }

    private func liftProduct(_ row: Int, _ direction: [Float]) -> Float {
        tables.lifts.scale(row) * dot(tables.lifts.elements(row), direction)
    }

    private func addLift(_ row: Int, _ weight: Float, to sum: inout [Float]) {
        addScaled(weight * tables.lifts.scale(row), tables.lifts.elements(row), to: &sum)
    }
}
