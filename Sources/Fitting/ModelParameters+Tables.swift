package import Programs
import Vectors

extension ModelParameters {
    /// The numbers of a model as its file holds them: `rounded()` leaves them as they are but for the last bits.
    package init(_ tables: ModelTables) {
        self.init(shape: tables.shape, meanings: [], seed: 0)
        records = []
        records.reserveCapacity(tables.records.count * shape.recordWidth)
        for id in 0..<tables.records.count {
            let table = tables.records
            for (scale, elements) in [
                table.meaning(id), table.contextAnswer(id), table.neighbourAnswer(id), table.neighbourInfluence(id),
                table.left(id), table.right(id),
            ] { records.append(contentsOf: elements.lazy.map { $0 * scale }) }
            records.append(table.bias(id))
            records.append(contentsOf: repeatElement(0, count: shape.recordWidth - shape.recordElementCount - 1))
        }
        func rows(_ table: RowTable, _ range: Range<Int>) -> [Float] {
            range.flatMap { row in table.elements(row).map { $0 * table.scale(row) } }
        }
        let (layout, features) = (DenseLayout(shape), shape.couplingCount)
        for (range, values) in [
            (layout.projection, rows(tables.projection, 0..<tables.projection.count)),
            (layout.neighbours, tables.neighbours), (layout.couplings, tables.couplings),
            (layout.rules, rows(tables.rules, 0..<tables.rules.count)), (layout.thresholds, tables.thresholds),
            (layout.lift, rows(tables.lifts, 0..<features)),
            (layout.ruleVectors, rows(tables.lifts, features..<tables.lifts.count)),
        ] { dense.replaceSubrange(range, with: values) }
    }
}
