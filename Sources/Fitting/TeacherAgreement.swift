package import Bytes
import Evaluation
package import SAEEngine
package import Vectors

/// How far two sets of vectors of the same texts say the same.
package struct TeacherAgreement: Sendable, Equatable {
    /// Texts that were compared.
    package let textCount: Int
    /// Mean of the cosine between the two vectors of a text and its standard error; nil where their dimensions differ in
    /// number. It only means something in the same basis.
    package let cosine: (mean: Double, error: Double)?
    /// Spearman's correlation of the two similarities of pairs drawn at random, × 1.
    package let rankCorrelation: Double
    package let pairCount: Int
    /// Pearson's correlation of the two similarities of each text and its ten nearest by the second vectors.
    package let nearAgreement: Double

    package static func == (a: TeacherAgreement, b: TeacherAgreement) -> Bool {
        a.textCount == b.textCount && a.cosine?.mean == b.cosine?.mean && a.cosine?.error == b.cosine?.error
            && a.rankCorrelation == b.rankCorrelation && a.pairCount == b.pairCount && a.nearAgreement == b.nearAgreement
    }

    /// Of rows of length one, a row a text; `theirs` decide which texts are near.
    package init(_ ours: Matrix, _ theirs: Matrix, pairCount: Int, seed: UInt64) {
        precondition(ours.rowCount == theirs.rowCount && ours.rowCount > 1)
        textCount = ours.rowCount
        self.pairCount = pairCount
        cosine = ours.columnCount == theirs.columnCount
            ? meanAndError((0..<ours.rowCount).map { Self.similarity(ours, $0, theirs, $0) }) : nil
        var random = CounterRandom(seed, 0xA9)
        let count = UInt64(ours.rowCount)
        var similarities: ([Double], [Double]) = ([], [])
        for _ in 0..<pairCount {
            let first = random.next().multipliedFullWidth(by: count).high
            // Another one than the first.
            let second = (first + 1 + random.next().multipliedFullWidth(by: count - 1).high) % count
            similarities.0.append(Self.similarity(ours, Int(first), ours, Int(second)))
            similarities.1.append(Self.similarity(theirs, Int(first), theirs, Int(second)))
        }
        rankCorrelation = spearman(similarities.0, similarities.1)
        nearAgreement = HeldOutScore.agreement(ours, theirs)
    }

    private static func similarity(_ a: Matrix, _ row: Int, _ b: Matrix, _ other: Int) -> Double {
        a.values.withUnsafeBufferPointer { x in
            b.values.withUnsafeBufferPointer { y in
                let (i, j) = (row * a.columnCount, other * b.columnCount)
                return (0..<a.columnCount).reduce(0.0) { $0 + Double(x[i + $1]) * Double(y[j + $1]) }
            }
        }
    }
}

/// A mean and its standard error.
func meanAndError(_ values: [Double]) -> (mean: Double, error: Double) {
    let count = Double(values.count)
    guard count > 0 else { return (0, .infinity) }
    let mean = values.reduce(0, +) / count
    guard count > 1 else { return (mean, .infinity) }
    let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / (count - 1)
    return (mean, (variance / count).squareRoot())
}

/// What is compared, and on how much of it.
package struct TeacherComparison {
    package var sampleCount = 4_096
    package var pairCount = 100_000
    package var seed: UInt64 = 1

    package init() {}

    /// Rows of the sample, ascending.
    private func sample(of count: Int) -> [Int] {
        var order = (0..<UInt32(count)).map { $0 }
        var random = CounterRandom(seed, 0xA8)
        shuffle(&order, using: &random)
        return order.prefix(sampleCount).sorted().map(Int.init)
    }

    /// Two files of vectors of the same texts.
    package func agreement(of first: TeacherVectors, with second: TeacherVectors) throws(FittingError) -> TeacherAgreement {
        guard first.rowCount == second.rowCount else {
            throw .rowCounts(first: first.array.path, second: second.array.path, rows: [first.rowCount, second.rowCount])
        }
        let rows = sample(of: first.rowCount)
        return try agreement(try units(first, rows, basis: nil), try units(second, rows, basis: nil))
    }

    /// A model and a teacher's vectors of texts; those of texts that have no vector by the model are left out.
    /// - Parameter basis: `.npy`, a projection of the vectors.
    package func agreement(
        of engine: Engine, on texts: TextLines, with vectors: TeacherVectors, basis: String?, threads: Int
    ) throws(FittingError) -> TeacherAgreement {
        let basis = try basis.map { path throws(FittingError) in try projectionMatrix(path, columnCount: engine.dimensions) }
        if let basis, basis.rowCount != vectors.columnCount {
            throw .width(vectors: vectors.array.path, columns: vectors.columnCount, expected: "\(basis.rowCount)")
        }
        let rows = sample(of: min(texts.count, vectors.rowCount))
        var batch = TextBatch()
        for row in rows { batch.append(utf8: texts[row]) }
        let ours = engine.embed(batch, threads: threads)
        let usable = rows.indices.filter { ours.outcomes[$0].status == .ok }
        let matrix = Matrix(
            rowCount: usable.count, columnCount: engine.dimensions, values: usable.flatMap { ours.vector($0) })
        return try agreement(matrix, try units(vectors, usable.map { rows[$0] }, basis: basis))
    }

    private func agreement(_ ours: Matrix, _ theirs: Matrix) throws(FittingError) -> TeacherAgreement {
        guard ours.rowCount > 1 else { throw .options("two texts at least are needed to compare similarities") }
        return TeacherAgreement(ours, theirs, pairCount: pairCount, seed: seed)
    }

    private func units(_ vectors: TeacherVectors, _ rows: [Int], basis: Matrix?) throws(FittingError) -> Matrix {
        var matrix = Matrix(
            rowCount: rows.count, columnCount: vectors.columnCount, values: rows.flatMap { vectors.row($0) })
        if let basis { matrix = matrix.multiplied(by: basis) }
        for (index, row) in rows.enumerated() {
            let range = index * matrix.columnCount..<(index + 1) * matrix.columnCount
            guard normalizeRow(&matrix.values, range) else { throw .zeroVector(path: vectors.array.path, row: row) }
        }
        return matrix
    }
}
