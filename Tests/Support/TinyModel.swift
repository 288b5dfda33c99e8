package import Models
import Tokenization
import Vectors

/// A small model with random lexemes: the vocabulary is trained by the real trainer on generated text, so pieces,
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

    package static let contents: ModelContents = {
        let count = (try? PieceModel(serialized: pieceModel))?.vocabularyCount ?? 0
        var random = SeededRandom(seed: 2)
        let rows = (0..<count * dimensions).map { _ in Float.random(in: -1...1, using: &random) }
        var contents = ModelContents(
            name: "tiny", lexemes: QuantizedRows(quantizing: rows, dimensions: dimensions), pieceModel: pieceModel,
            provenance: [("seed", "2")], selfTest: ("The cat watches the river.", []))
        do { contents.selfTest.vector = try contents.vector(of: contents.selfTest.text) } catch {
            preconditionFailure("the tiny vocabulary cannot be opened: \(error)")
        }
        return contents
    }()

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
