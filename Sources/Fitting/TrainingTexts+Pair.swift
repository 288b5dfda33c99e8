import Bytes
package import Models
package import Tokenization
import Vectors

extension TrainingTexts {
    /// The texts of a pair as pieces, with their targets; at most `maximumCount`. Those that a fit with these options
    /// holds out are held out (the rule of scripts/teacher/perturb.py).
    package init(
        _ pair: TeacherPair, pieces: PieceModel, options: FittingOptions, maximumCount: Int = .max
    ) throws(FittingError) {
        let array = try reading { () throws(FileError) in try NumpyArray(pair.vectors) }
        guard array.columnCount == options.dimensions else {
            throw .width(vectors: pair.vectors, columns: array.columnCount, expected: "\(options.dimensions)")
        }
        let count = min(array.rowCount, maximumCount)
        let lines = try reading { () throws(FileError) in try TextLines(contentsOf: pair.texts, maximumCount: count) }
        guard lines.count == count else {
            throw .tooFewTexts(texts: pair.texts, lines: lines.count, vectors: pair.vectors, rows: count)
        }
        self.init(dimensions: options.dimensions)
        let rows = try unitRows(array, basis: nil, threadCount: options.threadCount)
        append(
            pieces: tokenize(lines, count: count, model: pieces, threadCount: options.threadCount),
            targets: Array(rows[..<(count * options.dimensions)])
        ) { line in
            let value = lines.bytes[lines.range(line)].withUnsafeBytes {
                crc32($0, seed: UInt32(truncatingIfNeeded: options.seed))
            }
            return Int(value % 10_000) < options.heldOutShare
        }
    }

    /// What the lexemes of a model add up to, a row a text.
    package func sums(_ model: Model) -> [Float] {
        precondition(model.dimensions == dimensions)
        var result = [Float](repeating: 0, count: count * dimensions)
        pieces.withUnsafeBufferPointer { pieces in
            result.withUnsafeMutableBufferPointer { result in
                guard let base = result.baseAddress else { return }
                for text in 0..<count {
                    let ids = UnsafeBufferPointer(rebasing: pieces[Int(starts[text])..<Int(starts[text + 1])])
                    model.lexemes.gatherSum(ids, into: base + text * dimensions)
                }
            }
        }
        return result
    }
}
