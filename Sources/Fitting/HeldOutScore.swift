import Programs
package import Vectors

/// How well a model stands in for the teacher on texts that were not fitted.
package struct HeldOutScore: Sendable, Equatable {
    /// Mean of the cosine between the model's vector and the teacher's.
    package let cosine: Double
    /// Pearson correlation of the model's and the teacher's similarities, over each text and its ten nearest among
    /// the held-out ones by the teacher: near pairs, as graded similarity has them. × 1, not × 100.
    package let agreement: Double

    /// Of the first 4,096 of `rows`, held-out texts, at a temperature of the gates.
    package init(_ parameters: ModelParameters, texts: TrainingTexts, rows: [UInt32], temperature: Float, threadCount: Int) {
        let chosen = Array(rows.prefix(4_096))
        let ours = parameters.vectors(of: chosen, in: texts, temperature: temperature, threadCount: threadCount)
        let theirs = Matrix(
            rowCount: chosen.count, columnCount: texts.dimensions, values: chosen.flatMap { texts.target(Int($0)) })
        let total = zip(ours.values, theirs.values).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
        cosine = total / Double(max(1, chosen.count))
        agreement = Self.agreement(ours, theirs)
    }

    /// `agreement` of vectors and targets, a row a text, rows of length one.
    static func agreement(_ vectors: Matrix, _ targets: Matrix) -> Double {
        let theirs = targets.multiplied(by: targets.transposed())
        let ours = vectors.multiplied(by: vectors.transposed())
        var pairs: [(Double, Double)] = []
        for row in 0..<vectors.rowCount {
            for other in nearest(10, to: row, in: theirs) {
                pairs.append((Double(theirs[row, other]), Double(ours[row, other])))
            }
        }
        let count = Double(pairs.count)
        var (x, y, xx, yy, xy) = (0.0, 0.0, 0.0, 0.0, 0.0)
        for (a, b) in pairs { (x, y, xx, yy, xy) = (x + a, y + b, xx + a * a, yy + b * b, xy + a * b) }
        let spread = ((count * xx - x * x) * (count * yy - y * y)).squareRoot()
        return spread > 0 ? (count * xy - x * y) / spread : 0
    }

    /// The `count` columns with the largest values in a row, the row's own left out.
    private static func nearest(_ count: Int, to row: Int, in similarities: Matrix) -> [Int] {
        var kept: [(value: Float, column: Int)] = []
        let first = row * similarities.columnCount
        similarities.values.withUnsafeBufferPointer { values in
            for column in 0..<similarities.columnCount where column != row {
                let value = values[first + column]
                if kept.count == count, value <= kept[count - 1].value { continue }
                let at = kept.firstIndex { $0.value < value } ?? kept.count
                kept.insert((value, column), at: at)
                if kept.count > count { kept.removeLast() }
            }
        }
        return kept.map(\.column)
    }
}

extension ModelParameters {
    /// The vectors of texts as the fit computes them, in float32: rows of length one.
    package func vectors(of rows: [UInt32], in texts: TrainingTexts, temperature: Float, threadCount: Int) -> Matrix {
        var options = FittingOptions()
        options.shape = shape
        options.groupCount = 1
        options.batchCount = 512
        options.threadCount = threadCount
        (options.lowestTemperature, options.highestTemperature) = (temperature, temperature)
        let memory = StepMemory(shape: shape, recordCount: recordCount, textCount: options.batchCount)
        let (recordColumn, denseColumn) = (Column(records, filler: 0), Column(dense, filler: 0))
        let model = ForwardModel(
            shape: shape, layout: DenseLayout(shape), records: recordColumn.base, dense: denseColumn.base)
        var values: [Float] = []
        values.reserveCapacity(rows.count * shape.dimensions)
        for first in stride(from: 0, to: rows.count, by: options.batchCount) {
            let batch = Array(rows[first..<min(rows.count, first + options.batchCount)])
            memory.prepare(for: batch, of: texts, options: options, step: 0)
            texts.withColumns { columns in
                for chunk in 0..<(batch.count + memory.chunkTextCount - 1) / memory.chunkTextCount {
                    memory.runChunk(chunk, model: model, texts: columns, options: options, withGradients: false)
                }
            }
            for at in 0..<batch.count * shape.dimensions { values.append(memory.outputs[at]) }
        }
        return Matrix(rowCount: rows.count, columnCount: shape.dimensions, values: values)
    }
}
