import Annealing
import CVectorKernels
package import Programs
import Scoring
import Tokenization

/// All mutable memory of one thread that embeds: made by `Engine.makeWorkspace()`, used with that engine only.
public struct Workspace: ~Copyable {
    var tokenizer: Tokenizer
    var pieces = PieceBuffer()
    /// The program of the last text.
    package internal(set) var stream = ProgramStream()
    var annealing = AnnealingWorkspace()
    var gates: GateMemory
    var slice: SliceMemory

    init(tokenizer: consuming Tokenizer, shape: ModelShape, session: ResilientSession) {
        self.tokenizer = tokenizer
        gates = GateMemory(shape: shape)
        slice = SliceMemory(shape: shape, session: session)
    }

    /// Words found in the word cache, and words that had to be segmented, since the start.
    public var cacheCounts: (hits: UInt64, misses: UInt64) { tokenizer.cacheCounts }
}

/// What the gates of one text need.
struct GateMemory {
    /// x̂ of a plain sum, D.
    var bag: [Float]
    /// P x̂, r.
    var context: [Float]
    /// An entry an item.
    var weights: [Float] = []

    init(shape: ModelShape) {
        bag = [Float](repeating: 0, count: shape.dimensions)
        context = [Float](repeating: 0, count: shape.contextRank)
    }

    /// Makes room for the weights of a text; allocates only to grow.
    mutating func reserve(itemCount: Int) {
        if weights.count < itemCount { weights.append(contentsOf: repeatElement(0, count: itemCount - weights.count)) }
    }
}

/// Texts that are read, then weighed, then scored together: their vectors do not depend on which.
struct SliceMemory: ~Copyable {
    static let textCount = 32
    /// Records of the texts that were read, one text behind the other.
    private var ids: [UInt32] = []
    /// Where each text ends in `ids`.
    private var ends: [Int] = []
    /// textCount × (D + c): [x̂ ; z] of each text.
    var features: [Float]
    /// The context rules that fired for each of the texts.
    var fired: FiredRules
    let session: ResilientSession
    /// The arithmetic that the texts of the call were scored with; nil before the first.
    var numerics: String?

    init(shape: ModelShape, session: ResilientSession) {
        self.session = session
        fired = FiredRules(ruleCount: shape.ruleCount, textCapacity: Self.textCount)
        features = [Float](repeating: 0, count: Self.textCount * shape.featureCount)
        ends.reserveCapacity(Self.textCount)
    }

    /// Forgets the texts.
    mutating func clear() {
        ids.removeAll(keepingCapacity: true)
        ends.removeAll(keepingCapacity: true)
    }

    /// Records of the text that is being read.
    mutating func append(_ records: UnsafeBufferPointer<UInt32>) { ids.append(contentsOf: records) }

    mutating func endText() { ends.append(ids.count) }

    mutating func withPrograms(_ body: (Programs, UnsafeMutablePointer<Float>) -> Void) {
        ids.withUnsafeBufferPointer { ids in
            ends.withUnsafeBufferPointer { ends in
                features.withUnsafeMutableBufferPointer { features in
                    if let base = features.baseAddress { body(Programs(ids: ids, ends: ends), base) }
                }
            }
        }
    }

    /// The texts' records, by text.
    struct Programs {
        fileprivate let ids: UnsafeBufferPointer<UInt32>
        fileprivate let ends: UnsafeBufferPointer<Int>

        func ids(_ place: Int) -> UnsafeBufferPointer<UInt32> {
            UnsafeBufferPointer(rebasing: ids[(place == 0 ? 0 : ends[place - 1])..<ends[place]])
        }

        /// Asks for a text's records before they are needed, if there is such a text.
        func prefetch(_ place: Int, _ columns: sae_records) {
            guard place < ends.count else { return }
            let text = ids(place)
            sae_prefetch_records(columns, text.baseAddress, min(text.count, Self.prefetchCount))
        }

        /// More would push out of the first level what is being computed.
        private static let prefetchCount = 48
    }
}
