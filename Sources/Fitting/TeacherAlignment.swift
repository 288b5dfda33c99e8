import Bytes
package import SAEEngine
package import Vectors

/// A projection of a teacher's vectors to the dimensions of a model that is there already, whose own projection is not known or
/// is that of another teacher: the strongest axes of the teacher's vectors, turned so that they come as near as possible to
/// what the model says of the same texts. Cosines between projected vectors are those that the axes leave, whatever the turn.
package struct TeacherAlignment: Sendable {
    package let basis: Matrix
    /// Mean cosine between the model's vectors and the turned ones: how much the two have in common.
    package let cosine: Double

    /// Of at most so many texts of each file: a turn of 256 dimensions needs no more.
    private static let maximumCount = 32_768

    /// Looks at the texts of `pairs` that are not kept for the end.
    package init(
        _ pairs: [TeacherPair], to engine: Engine, options: FittingOptions
    ) throws(FittingError) {
        let size = engine.dimensions
        var rows: [Float] = []
        var ours: [Float] = []
        var width: Int?
        for pair in pairs {
            let vectors = try TeacherVectors(pair.vectors, scales: pair.scales)
            guard vectors.columnCount > size, vectors.columnCount == width ?? vectors.columnCount else {
                throw .width(
                    vectors: pair.vectors, columns: vectors.columnCount, expected: width.map { "\($0)" } ?? "more than \(size)")
            }
            width = vectors.columnCount
            let lines = try reading { () throws(FileError) in
                try TextLines(contentsOf: pair.texts, maximumCount: vectors.rowCount)
            }
            guard lines.count == vectors.rowCount else {
                throw .tooFewTexts(texts: pair.texts, lines: lines.count, vectors: pair.vectors, rows: vectors.rowCount)
            }
            let chosen = (0..<lines.count).lazy.filter { !options.keepsForTheEnd($0, of: lines) }.prefix(Self.maximumCount)
            var batch = TextBatch()
            for line in chosen { batch.append(utf8: lines[line]) }
            let embedded = engine.embed(batch, threads: options.threadCount)
            for (index, line) in chosen.enumerated() where embedded.outcomes[index].status == .ok {
                var row = vectors.row(line)
                guard normalizeRow(&row, 0..<row.count) else { throw .zeroVector(path: pair.vectors, row: line) }
                rows.append(contentsOf: row)
                ours.append(contentsOf: embedded.vector(index))
            }
        }
        guard let width, rows.count >= width * size else {
            throw .nothingToFit(texts: rows.count / max(1, width ?? 1), heldOut: 0)
        }
        var moment = SecondMoment(dimensions: width)
        moment.add(rows)
        guard let axes = moment.principalAxes(count: size)?.basis else { throw .noAxes }
        let count = rows.count / width
        var projected = Matrix(rowCount: count, columnCount: width, values: rows).multiplied(by: axes)
        for row in 0..<count { _ = normalizeRow(&projected.values, row * size..<(row + 1) * size) }
        let wanted = Matrix(rowCount: count, columnCount: size, values: ours)
        guard let turn = projected.transposed().multiplied(by: wanted).nearestRotation() else { throw .noAxes }
        basis = axes.multiplied(by: turn)
        let turned = projected.multiplied(by: turn)
        cosine = zip(turned.values, wanted.values).reduce(0.0) { $0 + Double($1.0) * Double($1.1) } / Double(count)
    }

    /// Writes the basis as `.npy`, as `--basis` takes it.
    package func write(to path: String) throws(FittingError) {
        try reading { () throws(FileError) in
            var file = try NumpyWriter(path, rowCount: basis.rowCount, columnCount: basis.columnCount)
            try file.append(basis.values)
            try file.finish()
        }
    }
}
