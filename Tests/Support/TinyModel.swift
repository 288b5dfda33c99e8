package import Models
package import Programs
package import Rules
import SAEEngine
import Tokenization
import Vectors

/// A small model with random numbers in every family: the vocabulary is trained by the real trainer on generated text, so pieces,
/// file and arithmetic are those of a shipped model. Made once a process.
package enum TinyModel {
    package static let dimensions = 256

    /// A serialised SentencePiece model of a few hundred pieces.
    package static let pieceModel: [UInt8] = {
        do {
            let texts = GeneratedText.sentences(4000, seed: 1).map { Array($0.utf8) }
            return try PieceTrainer.train(texts: texts, vocabularyCount: 600)
        } catch {
            preconditionFailure("the tiny vocabulary cannot be trained: \(error)")
        }
    }()

    package static let shape = ModelShape(
        dimensions: dimensions, contextRank: 32, neighbourRank: 16, couplingCount: 32, ruleCount: 96)

    /// Three phrases over words of the generated texts: two replace a pair, one is added, and its bid looks at the context.
    package static let phrases: RuleSet = {
        do {
            let model = try PieceModel(serialized: pieceModel)
            func last(_ word: String) -> PatternElement {
                .record(Array(word.utf8).withUnsafeBufferPointer { model.encodeByLibrary($0) }.last ?? 0)
            }
            func first(_ word: String) -> PatternElement {
                .record(Array(word.utf8).withUnsafeBufferPointer { model.encodeByLibrary($0) }.first ?? 0)
            }
            let context = (0..<32).map { Float($0 % 5) / 4 - 0.5 }
            return try RuleSet(
                vocabularyCount: model.vocabularyCount, phraseCount: 3, contextDimensions: 32,
                rules: [
                    Rule(.adjacent([last("the"), first("cat")]), .replace, phrase: 0, worth: 1),
                    Rule(.adjacent([last("the"), first("river")]), .replace, phrase: 1, worth: 1.5),
                    Rule(
                        .sequence([first("the"), first("the")], gaps: [3]), .add, phrase: 2, worth: 0.1, coefficient: 0.2,
                        context: context),
                ])
        } catch { preconditionFailure("the tiny model's phrases are no rules: \(error)") }
    }()

    package static let contents: ModelContents = {
        var random = SeededRandom(seed: 2)
        func numbers(_ count: Int, _ range: ClosedRange<Float>) -> [Float] {
            (0..<count).map { _ in Float.random(in: range, using: &random) }
        }
        let count = (try? PieceModel(serialized: pieceModel))?.vocabularyCount ?? 0
        var records = PackedRecords(shape: shape)
        for _ in 0..<count + phrases.phraseCount {
            records.append(numbers(shape.recordElementCount, -1...1), bias: Float.random(in: -1...1, using: &random))
        }
        func rows(_ count: Int, _ columns: Int, _ range: ClosedRange<Float>) -> QuantizedRows {
            QuantizedRows(quantizing: numbers(count * columns, range), dimensions: columns)
        }
        var contents = ModelContents(
            name: "tiny", records: records, projection: rows(shape.contextRank, dimensions, -1...1),
            neighbours: numbers(4 * shape.neighbourRank, -1...1), couplings: numbers(2 * shape.couplingCount, -1...1),
            rules: rows(shape.ruleCount, shape.featureCount, -0.1...0.1), thresholds: numbers(shape.ruleCount, -0.05...0.1),
            lifts: rows(shape.couplingCount + shape.ruleCount, dimensions, -0.5...0.5), phrases: phrases, temperature: 1.25,
            pieceModel: pieceModel, pieceCount: count, provenance: [("seed", "2")], selfTest: ("", []))
        do { try Engine.recordSelfTest("The cat watches the river.", in: &contents) } catch {
            preconditionFailure("the tiny model cannot be opened: \(error)")
        }
        return contents
    }()

    /// The model under another name and with weaker lifts, so that its vectors differ.
    package static func contents(named name: String) throws -> ModelContents {
        var contents = contents
        contents.name = name
        var random = SeededRandom(seed: UInt64(name.utf8.reduce(7) { $0 &* 31 &+ Int($1) }))
        let count = (shape.couplingCount + shape.ruleCount) * dimensions
        contents.lifts = QuantizedRows(
            quantizing: (0..<count).map { _ in Float.random(in: -0.5...0.5, using: &random) }, dimensions: dimensions)
        try Engine.recordSelfTest("The cat watches the river.", in: &contents)
        return contents
    }

    /// The model with the two of its rules whose bids do not look at the context: one that a fit can go on from.
    package static func contentsWithPlainRules() throws -> ModelContents {
        var contents = contents
        contents.phrases = try RuleSet(
            vocabularyCount: phrases.vocabularyCount, phraseCount: phrases.phraseCount,
            rules: phrases.rules.prefix(2).map { Rule($0.pattern, $0.edit, phrase: $0.phrase, worth: $0.worth) })
        try Engine.recordSelfTest("The cat watches the river.", in: &contents)
        return contents
    }

    /// The model, opened from a file of its own.
    package static func open() throws -> Model {
        let folder = try TemporaryFolder()
        // The mapping outlives the file.
        return try withExtendedLifetime(folder) { try Model(write(in: folder)) }
    }

    /// Writes the model into a new temporary folder and returns its path.
    package static func write(in folder: TemporaryFolder) throws -> String {
        let path = folder.path("tiny.sae")
        try contents.write(to: path)
        return path
    }
}
