import KeyValueStore
import Models
import RuleLibrary
package import SAEEngine
package import Scoring

extension Engine {
    /// The model of a file, with the promoted generation of a rule library in the place of its own rules unless `library` is empty.
    ///
    /// The library is closed again at once: the engine holds a copy, so nobody waits for a daemon to write or prune.
    /// - Throws: `EngineError`, `ModelError`, `LibraryError`.
    package init(modelPath: String, library: String, scorer: ScorerSettings) throws {
        guard !library.isEmpty else {
            try self.init(contentsOf: modelPath, scorer: scorer)
            return
        }
        let base = try Model(modelPath)
        var store = try Library(library, access: .reading)
        let (generation, worth) = try store.promoted()
        self.init(model: try generation.model(on: base, worth: worth, basePath: modelPath), scorer: scorer)
    }
}
