import Bytes
import Models
import Rules
package import SAEEngine
import Tokenization
import Vectors

/// What rules are mined from: texts with their targets, and what an engine makes of them now.
package struct MiningMaterial: Sendable {
    package let texts: TrainingTexts
    /// The texts themselves.
    package let batch: TextBatch
    /// The engine's vectors, a row a text; unit length, or zero for a text without any.
    package let vectors: [Float]

    /// Reads pairs; vectors wider than the model's are projected by `basis`, a `.npy`. Texts that a fit of the same
    /// pairs with these options holds out, of the first pair only, are held out.
    package init(
        _ pairs: [TeacherPair], basis: String? = nil, engine: Engine, options: FittingOptions
    ) throws(FittingError) {
        let noRules: RuleSet
        do throws(RuleError) {
            noRules = try RuleSet(vocabularyCount: engine.model.pieces.vocabularyCount, phraseCount: 0)
        } catch { throw .rules(error) }
        let projection = try basis.map { path throws(FittingError) in try projectionMatrix(path, columnCount: engine.dimensions) }
        var texts = TrainingTexts(dimensions: engine.dimensions)
        var batch = TextBatch()
        for (number, pair) in pairs.enumerated() {
            let array = try reading { () throws(FileError) in try NumpyArray(pair.vectors) }
            let isWide = array.columnCount != engine.dimensions
            guard !isWide || array.columnCount == projection?.rowCount else {
                throw .width(
                    vectors: pair.vectors, columns: array.columnCount,
                    expected: "\(projection?.rowCount ?? engine.dimensions)")
            }
            let lines = try reading { () throws(FileError) in
                try TextLines(contentsOf: pair.texts, maximumCount: array.rowCount)
            }
            guard lines.count == array.rowCount else {
                throw .tooFewTexts(
                    texts: pair.texts, lines: lines.count, vectors: pair.vectors, rows: array.rowCount)
            }
            texts.append(
                pieces: tokenize(
                    lines, count: lines.count, model: engine.model.pieces, phrases: noRules,
                    threadCount: options.threadCount),
                targets: try unitRows(array, basis: isWide ? projection : nil, threadCount: options.threadCount)
            ) { line in
                options.use(of: line, of: lines, isFirstFile: number == 0)
            }
            for line in 0..<lines.count { batch.append(utf8: lines[line]) }
        }
        self.texts = texts
        self.batch = batch
        vectors = engine.embed(batch, threads: options.threadCount).vectors
    }
}

/// A projection from a file, teacher's × model's dimensions.
func projectionMatrix(_ path: String, columnCount: Int) throws(FittingError) -> Matrix {
    let array = try reading { () throws(FileError) in try NumpyArray(path) }
    guard array.columnCount == columnCount else {
        throw .width(vectors: path, columns: array.columnCount, expected: "\(columnCount)")
    }
    return Matrix(
        rowCount: array.rowCount, columnCount: columnCount, values: (0..<array.rowCount).flatMap { array.row($0) })
}
