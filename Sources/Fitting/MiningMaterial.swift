import Bytes
import Models
import Rules
package import SAEEngine
import Tokenization

/// What rules are mined from: texts with their targets, and what an engine makes of them now.
package struct MiningMaterial: Sendable {
    package let texts: TrainingTexts
    /// The engine's vectors, a row a text; unit length, or zero for a text without any.
    package let vectors: [Float]

    /// Reads the first `maximumCount` texts of a pair. Texts that a fit with these options holds out are held out.
    package init(
        _ pair: TeacherPair, engine: Engine, options: FittingOptions, maximumCount: Int = .max
    ) throws(FittingError) {
        let array = try reading { () throws(FileError) in try NumpyArray(pair.vectors) }
        guard array.columnCount == engine.dimensions else {
            throw .width(vectors: pair.vectors, columns: array.columnCount, expected: "\(engine.dimensions)")
        }
        let count = min(array.rowCount, maximumCount)
        let lines = try reading { () throws(FileError) in try TextLines(contentsOf: pair.texts, maximumCount: count) }
        guard lines.count == count else {
            throw .tooFewTexts(texts: pair.texts, lines: lines.count, vectors: pair.vectors, rows: count)
        }
        let noRules: RuleSet
        do throws(RuleError) {
            noRules = try RuleSet(vocabularyCount: engine.model.pieces.vocabularyCount, phraseCount: 0)
        } catch { throw .rules(error) }
        var texts = TrainingTexts(dimensions: engine.dimensions)
        let targets = try unitRows(array, basis: nil, threadCount: options.threadCount)
        texts.append(
            pieces: tokenize(
                lines, count: count, model: engine.model.pieces, phrases: noRules, threadCount: options.threadCount),
            targets: Array(targets[..<(count * engine.dimensions)])
        ) { line in
            options.holdsOut(line, of: lines) ? .holdOut : .fit
        }
        self.texts = texts
        var batch = TextBatch()
        for line in 0..<count { batch.append(utf8: lines[line]) }
        vectors = engine.embed(batch, threads: options.threadCount).vectors
    }
}
