package import SAEEngine
import Vectors

/// Scores of an engine on gold labels, × 100, for the leading `dimensions` of its vectors (normalised again).
package struct Evaluator: Sendable {
    private let engine: Engine
    private let dimensions: Int
    private let temperature: Temperature
    private let threads: Int

    /// - Parameter dimensions: 1 to the engine's.
    package init(engine: Engine, dimensions: Int, temperature: Temperature = .fitted, threads: Int) {
        precondition((1...engine.dimensions).contains(dimensions))
        self.engine = engine
        self.dimensions = dimensions
        self.temperature = temperature
        self.threads = threads
    }

    /// Correlation of cosines with gold scores; rows are (score, text, text).
    package func similarity(_ table: LabelledTexts) throws(EvaluationError) -> (spearman: Double, pearson: Double) {
        var gold: [Double] = []
        for (index, row) in table.rows.enumerated() {
            guard let score = Double(row[0]), score.isFinite else {
                throw .line(path: table.path, number: index + 1, reason: "'\(row[0])' is not a score")
            }
            gold.append(score)
        }
        let left = try vectors(table, column: 1)
        let right = try vectors(table, column: 2)
        let cosines = gold.indices.map { Double(left.dot($0, right, $0)) }
        guard Set(gold).count > 1, Set(cosines).count > 1 else { throw .constant(path: table.path) }
        return (100 * spearman(gold, cosines), 100 * pearson(gold, cosines))
    }

    /// How often the second text of a row is the nearest of all second texts to the first; rows are (text, text).
    package func retrieval(_ table: LabelledTexts) throws(EvaluationError) -> Double {
        let queries = try vectors(table, column: 0)
        let answers = try vectors(table, column: 1)
        let hits = (0..<queries.count).count { query in
            let nearest = (0..<answers.count).max { queries.dot(query, answers, $0) < queries.dot(query, answers, $1) }
            return nearest == query
        }
        return 100 * Double(hits) / Double(queries.count)
    }

    /// Accuracy of a vote of the `neighbours` nearest of `train`, each weighted by its cosine; rows are (label, text).
    package func nearestNeighbours(
        train: LabelledTexts, test: LabelledTexts, neighbours: Int
    ) throws(EvaluationError) -> Double {
        let known = try vectors(train, column: 1)
        let asked = try vectors(test, column: 1)
        let labels = train.column(0)
        var right = 0
        for (query, label) in test.column(0).enumerated() {
            let cosines = (0..<known.count).map { asked.dot(query, known, $0) }
            let nearest = cosines.indices.sorted { (cosines[$0], $1) > (cosines[$1], $0) }.prefix(neighbours)
            var votes: [String: Float] = [:]
            for index in nearest { votes[labels[index], default: 0] += cosines[index] }
            let best = votes.max { ($0.value, $1.key) < ($1.value, $0.key) }
            if best?.key == label { right += 1 }
        }
        return 100 * Double(right) / Double(asked.count)
    }

    /// Unit vectors of one column.
    private func vectors(_ table: LabelledTexts, column: Int) throws(EvaluationError) -> UnitRows {
        let batch = engine.embed(TextBatch(table.column(column)), temperature: temperature, threads: threads)
        if let bad = batch.outcomes.firstIndex(where: { $0.status != .ok }) {
            throw .noVector(path: table.path, number: bad + 1)
        }
        return UnitRows(batch, leading: dimensions)
    }
}

/// Rows of length one, cut to their leading dimensions.
private struct UnitRows {
    let count: Int
    private let dimensions: Int
    private var values: [Float]

    init(_ batch: EmbeddingBatch, leading: Int) {
        count = batch.count
        dimensions = leading
        values = []
        for row in 0..<batch.count {
            var unit = Array(batch.vector(row).prefix(leading))
            _ = normalize(unit, count: leading, into: &unit)
            values += unit
        }
    }

    func dot(_ row: Int, _ other: UnitRows, _ otherRow: Int) -> Float {
        values.withUnsafeBufferPointer { a in
            other.values.withUnsafeBufferPointer { b in
                Vectors.dot(
                    UnsafeBufferPointer(rebasing: a[row * dimensions..<(row + 1) * dimensions]),
                    UnsafeBufferPointer(rebasing: b[otherRow * dimensions..<(otherRow + 1) * dimensions]))
            }
        }
    }
}
