import Annealing
package import Programs
import Scoring
import Tokenization

/// All mutable memory of one thread that embeds: made by `Engine.makeWorkspace()`, used with that engine only.
public struct Workspace: ~Copyable {
    var tokenizer: Tokenizer
    var pieces = PieceBuffer()
    package internal(set) var stream = ProgramStream()
    var annealing = AnnealingWorkspace()
    var gates = GateMemory()
    var slice: SliceMemory

    init(tokenizer: consuming Tokenizer, shape: ModelShape, session: ResilientSession) {
        self.tokenizer = tokenizer
        slice = SliceMemory(shape: shape, session: session)
    }

    /// Words found in the word cache, and words that had to be segmented, since the start.
    public var cacheCounts: (hits: UInt64, misses: UInt64) { tokenizer.cacheCounts }
}

/// What the gates of one text need.
struct GateMemory {
    /// x̂ of the plain sum, D.
    var bag: [Float] = []
    /// P x̂, r.
    var context: [Float] = []
    /// An entry an item.
    var weights: [Float] = []
}

/// Texts whose context rules are scored together: their vectors do not depend on which.
struct SliceMemory: ~Copyable {
    static let textCount = 32
    /// textCount × (D + c): [x̂ ; z] of each text.
    var features: [Float]
    /// The context rules that fired for each of the texts.
    var fired: FiredRules
    let session: ResilientSession
    /// The arithmetic that the texts of the call were scored with; nil before the first.
    var numerics: String?
    /// The rules of one text that fired, as rows of `ModelTables.lifts`.
    var firedRows: [UInt32]

    init(shape: ModelShape, session: ResilientSession) {
        self.session = session
        fired = FiredRules(ruleCount: shape.ruleCount, textCapacity: Self.textCount)
        features = [Float](repeating: 0, count: Self.textCount * shape.featureCount)
        firedRows = [UInt32](repeating: 0, count: shape.ruleCount)
    }
}
