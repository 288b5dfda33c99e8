import Bytes
import Foundation
import SAEEngine
import TestSupport

/// Generated sentences, with the vectors of a teacher that says what a model does, and something of its own of "river".
struct RiverTeacher {
    let lines: [String]
    /// 256 numbers a line, not of unit length.
    let rows: [Float]
    /// Files of both.
    let texts: String
    let vectors: String

    /// - Parameter texts: the file of the texts; that of the vectors lies beside it.
    init(_ texts: String, count: Int, seed: UInt64, model: String) throws {
        lines = GeneratedText.sentences(count, seed: seed)
        self.texts = texts
        vectors = texts + ".npy"
        try (lines.joined(separator: "\n") + "\n").write(toFile: texts, atomically: true, encoding: .utf8)
        var rows = try Engine(contentsOf: model).embed(TextBatch(lines), threads: 2).vectors
        for (row, line) in lines.enumerated() where line.contains("river") {
            for d in 0..<256 { rows[row * 256 + d] += d % 2 == 0 ? 0.1 : -0.1 }
        }
        var file = try NumpyWriter(vectors, rowCount: lines.count, columnCount: 256)
        try file.append(rows)
        try file.finish()
        self.rows = rows
    }

    /// Cosine of the teacher's vectors of two lines.
    func cosine(_ a: Int, _ b: Int) -> Float {
        func product(_ a: Int, _ b: Int) -> Float { (0..<256).reduce(0) { $0 + rows[a * 256 + $1] * rows[b * 256 + $1] } }
        return product(a, b) / (product(a, a) * product(b, b)).squareRoot()
    }
}
