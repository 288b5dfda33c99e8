package import Programs
import Tokenization

/// All mutable memory of one thread that embeds: made by `Engine.makeWorkspace()`, used with that engine only.
public struct Workspace: ~Copyable {
    var tokenizer: Tokenizer
    var pieces = PieceBuffer()
    package internal(set) var stream = ProgramStream()

    init(tokenizer: consuming Tokenizer) { self.tokenizer = tokenizer }

    /// Words found in the word cache, and words that had to be segmented, since the start.
    public var cacheCounts: (hits: UInt64, misses: UInt64) { tokenizer.cacheCounts }
}
