import Vectors

/// How well rows stand in for the teacher on texts that were not fitted.
package struct HeldOutScore: Sendable, Equatable {
    /// Mean of the cosine between the model's vector and the teacher's.
    package let cosine: Double
    /// Pearson correlation of the model's and the teacher's similarities, over each text and its ten nearest among
    /// the held-out ones by the teacher: near pairs, as graded similarity has them. × 1, not × 100.
    package let agreement: Double

    /// At most 4,096 held-out texts are used: the first ones.
    package init(rows: [Float], texts: TrainingTexts) {
        let size = texts.dimensions
        let chosen = Array(texts.heldOut.prefix(4_096))
        var vectors: [Float] = []
        var targets: [Float] = []
        for text in chosen {
            var sum = [Float](repeating: 0, count: size)
            for at in texts.starts[Int(text)]..<texts.starts[Int(text) + 1] {
                let first = Int(texts.pieces[Int(at)]) * size
                for d in 0..<size { sum[d] += rows[first + d] }
            }
            _ = normalizeRow(&sum, 0..<size)
            vectors.append(contentsOf: sum)
            let scale = texts.targetScales[Int(text)]
            targets.append(contentsOf: (0..<size).map { Float(texts.targets[Int(text) * size + $0]) * scale })
        }
        let total = zip(vectors, targets).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
        cosine = total / Double(max(1, chosen.count))
        agreement = Self.agreement(
            Matrix(rowCount: chosen.count, columnCount: size, values: vectors),
            Matrix(rowCount: chosen.count, columnCount: size, values: targets))
    }

    private static func agreement(_ vectors: Matrix, _ targets: Matrix) -> Double {
        let theirs = targets.multiplied(by: targets.transposed())
        let ours = vectors.multiplied(by: vectors.transposed())
        let count = vectors.rowCount
        var (n, x, y, xx, yy, xy) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        for row in 0..<count {
            let nearest = (0..<count).filter { $0 != row }
                .map { (theirs[row, $0], ours[row, $0]) }
            for (a, b) in largest(10, of: nearest) {
                (n, x, y) = (n + 1, x + Double(a), y + Double(b))
                xx += Double(a) * Double(a)
                yy += Double(b) * Double(b)
                xy += Double(a) * Double(b)
            }
        }
        let spread = ((n * xx - x * x) * (n * yy - y * y)).squareRoot()
        return spread > 0 ? (n * xy - x * y) / spread : 0
    }

    /// The `count` pairs with the largest first numbers.
    private static func largest(_ count: Int, of pairs: [(Float, Float)]) -> [(Float, Float)] {
        var kept: [(Float, Float)] = []
        for pair in pairs where kept.count < count || pair.0 > kept[kept.count - 1].0 {
            let at = kept.firstIndex { $0.0 < pair.0 } ?? kept.count
            kept.insert(pair, at: at)
            if kept.count > count { kept.removeLast() }
        }
        return kept
    }
}
