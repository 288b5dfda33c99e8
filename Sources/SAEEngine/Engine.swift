import Bytes
import Diagnostics
package import Models
import Programs
import Tokenization
package import Vectors

/// Texts to vectors, in process. Immutable; share it between threads, and give each thread a workspace.
///
/// ```swift
/// let engine = try Engine(contentsOf: "default.sae")
/// var workspace = engine.makeWorkspace()
/// var vectors = EmbeddingBatch(dimensions: engine.dimensions)
/// engine.embed(TextBatch(["A cat sat on the mat."]), using: &workspace, into: &vectors)
/// ```
public struct Engine: Sendable {
    /// The name of the arithmetic: it changes whenever a bit of a vector may.
    public static let numerics = "cpu-1"

    package let model: Model
    let instructionSet: InstructionSet

    /// Opens and checks a model file.
    public init(contentsOf path: String) throws(EngineError) {
        do throws(ModelError) { self.init(model: try Model(path)) } catch { throw EngineError(error) }
    }

    package init(model: Model, instructionSet: InstructionSet = .best) {
        self.model = model
        self.instructionSet = instructionSet
    }

    /// Length of a vector.
    public var dimensions: Int { model.dimensions }
    public var modelName: String { model.name }
    /// SHA-256 of the model's contents.
    public var digest: [UInt8] { model.digest }
    public var vocabularyCount: Int { model.lexemes.count }

    /// Names the bits: the first 8 bytes, little-endian, of SHA-256(digest ‖ numerics name). Two engines of one
    /// generation give the same vectors.
    public var generation: UInt64 {
        (model.digest + Array(Self.numerics.utf8)).withUnsafeBytes { bytes in
            SHA256.digest(of: bytes).prefix(8).reversed().reduce(0) { $0 << 8 | UInt64($1) }
        }
    }

    public func makeWorkspace() -> Workspace { Workspace(tokenizer: Tokenizer(model: model.pieces)) }

    /// The vectors of all texts; replaces what `batch` held. Allocates nothing once workspace and batch have seen a
    /// batch of this size and their words. A text's bits depend on nothing but the text, the limits and the model.
    public func embed(
        _ texts: TextBatch, limits: TextLimits = TextLimits(), using workspace: inout Workspace,
        into batch: inout EmbeddingBatch
    ) {
        embed(texts, 0..<texts.count, limits: limits, using: &workspace, into: &batch)
    }

    /// The vectors of some texts of a batch: row 0 is the first text of `range`.
    public func embed(
        _ texts: TextBatch, _ range: Range<Int>, limits: TextLimits = TextLimits(),
        using workspace: inout Workspace, into batch: inout EmbeddingBatch
    ) {
        precondition(batch.dimensions == dimensions, "the batch is for vectors of another length")
        batch.reset(count: range.count)
        texts.bytes.withUnsafeBufferPointer { bytes in
            batch.vectors.withUnsafeMutableBufferPointer { rows in
                guard let firstRow = rows.baseAddress else { return }
                for (row, index) in range.enumerated() {
                    let text = UnsafeBufferPointer(rebasing: bytes[texts.range(of: index)])
                    let outcome = embed(
                        text, limits: limits, using: &workspace, into: firstRow + row * dimensions)
                    batch.outcomes.append(outcome)
                }
            }
        }
    }

    /// One text, in the four steps: pieces, program, (annealing,) machine.
    private func embed(
        _ text: UnsafeBufferPointer<UInt8>, limits: TextLimits, using workspace: inout Workspace,
        into row: UnsafeMutablePointer<Float>
    ) -> RowOutcome {
        var used = text
        if text.count > limits.maximumTextBytes {
            guard limits.truncates else {
                return RowOutcome(status: .tooManyBytes, pieceCount: 0, isTruncated: false)
            }
            used = UnsafeBufferPointer(rebasing: text[..<characterBorder(in: text, atMost: limits.maximumTextBytes)])
        }
        let wasCut = workspace.tokenizer.encode(
            used, maximumPieces: limits.maximumPieces, into: &workspace.pieces)
        guard !wasCut || limits.truncates else {
            return RowOutcome(status: .tooManyPieces, pieceCount: 0, isTruncated: false)
        }
        workspace.stream.load(workspace.pieces)
        let count = workspace.stream.count
        guard count > 0 else { return RowOutcome(status: .noPieces, pieceCount: 0, isTruncated: false) }
        guard run(workspace.stream, into: row) else {
            return RowOutcome(status: .noDirection, pieceCount: 0, isTruncated: false)
        }
        return RowOutcome(status: .ok, pieceCount: count, isTruncated: wasCut || used.count < text.count)
    }

    /// What `Machine.run` computes for this program, without going word by word: the same products and sums in the
    /// same order. All scores are 0 in this version, so every weight is 1.
    private func run(_ stream: ProgramStream, into row: UnsafeMutablePointer<Float>) -> Bool {
        stream.operands.withUnsafeBufferPointer {
            model.lexemes.gatherSum($0, using: instructionSet, into: row)
        }
        return normalize(row, count: dimensions, into: row)
    }

    /// Embeds the text that the model file brings along and compares with its vector.
    /// - Throws: `selfTestFailed` when the cosine is under 0.9999.
    public func selfTest() throws(EngineError) {
        var workspace = makeWorkspace()
        var batch = EmbeddingBatch(dimensions: dimensions)
        embed(TextBatch([model.selfTest.text]), using: &workspace, into: &batch)
        let similarity = cosine(batch.vectors, model.selfTest.vector)
        guard similarity >= 0.9999 else {
            throw EngineError(
                .selfTestFailed, "the model gives its test text a vector with cosine \(similarity) to the right one",
                remedy: "this build of sae does not fit the model: report it, with the processor's name")
        }
    }
}

/// The largest cut of at most `limit` bytes that is not inside a UTF-8 sequence.
private func characterBorder(in text: UnsafeBufferPointer<UInt8>, atMost limit: Int) -> Int {
    var cut = limit
    while cut > 0, limit - cut < 4, text[cut] & 0xc0 == 0x80 { cut -= 1 }
    return text[cut] & 0xc0 == 0x80 ? limit : cut
}
