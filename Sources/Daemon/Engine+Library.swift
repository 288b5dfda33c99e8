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
    /// The model of a file, or one with a generation of a rule library, whichever has this digest; nil when neither has, or has it any
    /// more.
    /// - Throws: as `init(modelPath:library:scorer:)`, but for what is not there.
    package static func earlier(
        _ digest: [UInt8], modelPath: String, library: String, scorer: ScorerSettings
    ) throws -> Engine? {
        let base = try Model(modelPath)
        if base.digest == digest { return Engine(model: base, scorer: scorer) }
        guard !library.isEmpty else { return nil }
        var store = try Library(library, access: .reading)
        do throws(LibraryError) {
            let (generation, worth) = try store.generation(Digest(digest))
            return Engine(model: try generation.model(on: base, worth: worth, basePath: modelPath), scorer: scorer)
        } catch {
            switch error {
            case .unknown, .otherModel: return nil
            default: throw error
            }
        }
    }
}
