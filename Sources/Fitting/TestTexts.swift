import Bytes
package import SAEEngine
import Vectors

/// The texts of a file that a fit with `testShare` keeps for the end, with the teacher's vectors.
package struct TestTexts: Sendable {
    private let batch: TextBatch
    private let targets: Matrix

    package var count: Int { batch.count }

    /// - Parameters:
    ///   - basis: `.npy`, a projection of vectors that are wider than the model.
    ///   - dimensions: those of the model.
    package init(
        _ pair: TeacherPair, basis: String?, dimensions: Int, options: FittingOptions
    ) throws(FittingError) {
        let vectors = try TeacherVectors(pair.vectors, scales: pair.scales)
        let lines = try reading { () throws(FileError) in
            try TextLines(contentsOf: pair.texts, maximumCount: vectors.rowCount)
        }
        guard lines.count == vectors.rowCount else {
            throw .tooFewTexts(texts: pair.texts, lines: lines.count, vectors: pair.vectors, rows: vectors.rowCount)
        }
        var batch = TextBatch()
        var values: [Float] = []
        for line in 0..<lines.count where options.keepsForTheEnd(line, of: lines) && !lines[line].isEmpty {
            batch.append(utf8: lines[line])
            let row = vectors.row(line)
            guard row.allSatisfy(\.isFinite), row.contains(where: { $0 != 0 }) else {
                throw .zeroVector(path: pair.vectors, row: line)
            }
            values.append(contentsOf: row)
        }
        var targets = Matrix(rowCount: batch.count, columnCount: vectors.columnCount, values: values)
        if vectors.columnCount != dimensions, let basis {
            targets = targets.multiplied(by: try projectionMatrix(basis, columnCount: dimensions))
        }
        guard targets.columnCount == dimensions else {
            throw .width(vectors: pair.vectors, columns: vectors.columnCount, expected: "\(dimensions)")
        }
        for row in 0..<targets.rowCount { _ = normalizeRow(&targets.values, row * dimensions..<(row + 1) * dimensions) }
        (self.batch, self.targets) = (batch, targets)
    }

    /// What an engine makes of the texts.
    package struct Score: Sendable {
        /// To the teacher's vector, text by text; 0 for a text without a vector.
        package let cosines: [Double]
        /// `HeldOutScore.agreement`, of the first 4,096 texts.
        package let agreement: Double

        package var cosine: (mean: Double, error: Double) { meanAndError(cosines) }

        /// How much more this score is than another one of the same texts: the mean of the differences and its standard error.
        package func gain(over other: Score) -> (mean: Double, error: Double) {
            meanAndError(zip(cosines, other.cosines).map { $0 - $1 })
        }
    }

    package func score(_ engine: Engine, threads: Int) -> Score {
        let vectors = engine.embed(batch, threads: threads)
        let size = targets.columnCount
        let first = min(count, 4_096)
        return Score(
            cosines: (0..<count).map { row in
                zip(vectors.vector(row), targets.values[row * size..<(row + 1) * size])
                    .reduce(0) { $0 + Double($1.0) * Double($1.1) }
            },
            agreement: HeldOutScore.agreement(
                Matrix(rowCount: first, columnCount: size, values: Array(vectors.vectors.prefix(first * size))),
                Matrix(rowCount: first, columnCount: size, values: Array(targets.values.prefix(first * size)))))
    }
}
