import Annealing
import Bytes
import CVectorKernels
import Diagnostics
package import Models
package import Programs
import Rules
package import Scoring
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
    package let model: Model
    let instructionSet: InstructionSet
    /// P.
    let projection: PackedMatrix
    /// U.
    let couplingLifts: PackedMatrix
    package let scorer: ResilientScorer
    private let openingGeneration: UInt64
    private let substituteGeneration: UInt64
    let annealer: Annealer
    let sweepCount: Int

    /// Opens and checks a model file; context rules are scored on the CPU.
    public init(contentsOf path: String) throws(EngineError) {
        try self.init(contentsOf: path, scorer: .cpu)
    }

    package init(contentsOf path: String, scorer: ScorerSettings = .cpu, sweepCount: Int = 1) throws(EngineError) {
        do throws(ModelError) {
            self.init(model: try Model(path), scorer: scorer, sweepCount: sweepCount)
        } catch { throw EngineError(error) }
    }

    /// - Parameter sweepCount: how often the gates are computed, 1 or more: the first time from the plain sum, then from the
    ///   weighted one (algorithm.md, section 3). Models are fitted for one.
    package init(
        model: Model, scorer settings: ScorerSettings = .cpu, instructionSet: InstructionSet = .best, sweepCount: Int = 1
    ) {
        precondition(sweepCount > 0, "no sweep")
        self.sweepCount = sweepCount
        self.model = model
        self.instructionSet = instructionSet
        projection = PackedMatrix(model.tables.projection)
        couplingLifts = PackedMatrix(columns: model.tables.lifts, count: model.tables.shape.couplingCount)
        scorer = ResilientScorer(model.contextRules, settings)
        openingGeneration = Self.generation(model.digest, Self.numerics(scorer.numerics, sweepCount))
        substituteGeneration = Self.generation(model.digest, Self.numerics(scorer.substituteNumerics, sweepCount))
        annealer = Annealer(rules: model.phrases)
    }

    /// Length of a vector.
    public var dimensions: Int { model.dimensions }
    public var modelName: String { model.name }
    /// SHA-256 of the model's contents.
    public var digest: [UInt8] { model.digest }
    public var vocabularyCount: Int { model.tables.vocabularyCount }

    /// The name of the arithmetic: it changes whenever a bit of a vector may, also when a device fails.
    public var numerics: String { Self.numerics(scorer.numerics, sweepCount) }

    private static func numerics(_ scorer: String, _ sweepCount: Int) -> String {
        sweepCount == 1 ? scorer : "\(scorer), \(sweepCount) sweeps"
    }

    /// Names the bits: the first 8 bytes, little-endian, of SHA-256(digest ‖ numerics name). Two engines of one
    /// generation give the same vectors. It changes when a device fails and the CPU takes over.
    public var generation: UInt64 { generation(of: scorer.numerics) }

    /// The generation that the last batch of a workspace belongs to.
    public func generation(of workspace: borrowing Workspace) -> UInt64 {
        workspace.slice.numerics.map { generation(of: $0) } ?? generation
    }

    /// The numerics of the last batch of a workspace.
    func numerics(of workspace: borrowing Workspace) -> String {
        workspace.slice.numerics.map { Self.numerics($0, sweepCount) } ?? numerics
    }

    /// Why the scorer that was asked for is not at work; nil where it is.
    package var scorerOpeningFailure: String? { scorer.openingFailure?.description }

    /// Why the scorer that was at work was given up, in whatever call or thread: told once.
    package func takeScorerFailure() -> String? { scorer.takeFailure()?.description }

    private func generation(of numerics: String) -> UInt64 {
        numerics == scorer.substituteNumerics ? substituteGeneration : openingGeneration
    }

    private static func generation(_ digest: [UInt8], _ numerics: String) -> UInt64 {
        (digest + Array(numerics.utf8)).withUnsafeBytes { bytes in
            SHA256.digest(of: bytes).prefix(8).reversed().reduce(0) { $0 << 8 | UInt64($1) }
        }
    }

    public func makeWorkspace() -> Workspace {
        Workspace(tokenizer: Tokenizer(model: model.pieces), shape: model.tables.shape, session: scorer.makeSession())
    }

    /// The vectors of all texts; replaces what `batch` held. Allocates nothing once workspace and batch have seen a
    /// batch of this size and their words, except for words outside ASCII of over 16 bytes or 7 pieces, which the tokenizer
    /// does not keep. A text's bits depend on nothing but the text, the limits, the temperature and the model.
    public func embed(
        _ texts: TextBatch, limits: TextLimits = TextLimits(), temperature: Temperature = .fitted,
        using workspace: inout Workspace, into batch: inout EmbeddingBatch
    ) {
        embed(texts, 0..<texts.count, limits: limits, temperature: temperature, using: &workspace, into: &batch)
    }

    /// The vectors of some texts of a batch: row 0 is the first text of `range`. All are of one generation: a call in
    /// which a device fails starts over.
    public func embed(
        _ texts: TextBatch, _ range: Range<Int>, limits: TextLimits = TextLimits(), temperature: Temperature = .fitted,
        using workspace: inout Workspace, into batch: inout EmbeddingBatch
    ) {
        precondition(batch.dimensions == dimensions, "the batch is for vectors of another length")
        // A device is given up once, so this is done at most twice.
        while !embedByOneArithmetic(texts, range, limits, temperature, using: &workspace, into: &batch) {}
    }

    /// False when the arithmetic changed between two slices.
    private func embedByOneArithmetic(
        _ texts: TextBatch, _ range: Range<Int>, _ limits: TextLimits, _ temperature: Temperature,
        using workspace: inout Workspace, into batch: inout EmbeddingBatch
    ) -> Bool {
        batch.reset(count: range.count)
        workspace.slice.numerics = nil
        return texts.bytes.withUnsafeBufferPointer { bytes in
            batch.vectors.withUnsafeMutableBufferPointer { rows in
                guard let firstRow = rows.baseAddress else { return true }
                for first in stride(from: 0, to: range.count, by: SliceMemory.textCount) {
                    let slice = first..<min(range.count, first + SliceMemory.textCount)
                    workspace.slice.clear()
                    for row in slice {
                        let text = UnsafeBufferPointer(rebasing: bytes[texts.range(of: range.lowerBound + row)])
                        let next =
                            row + 1 == range.count
                            ? nil : UnsafeBufferPointer(rebasing: bytes[texts.range(of: range.lowerBound + row + 1)])
                        batch.outcomes.append(
                            read(text, next: next, limits: limits, temperature: temperature, using: &workspace))
                    }
                    let numerics = run(
                        &batch.outcomes, slice, temperature: temperature, using: &workspace,
                        into: firstRow + first * dimensions)
                    guard let numerics else { continue }
                    guard workspace.slice.numerics ?? numerics == numerics else { return false }
                    workspace.slice.numerics = numerics
                }
                return true
            }
        }
    }
    /// The program that a text came down to: what `Machine` runs to the same vector. `workspace` has just embedded this one
    /// text, at this temperature.
    package func finalProgram(of workspace: borrowing Workspace, temperature: Temperature) -> FinalProgram {
        let ids = workspace.stream.operands
        let isWeighted = model.tables.shape.hasGates && temperature != .infinite
        let items = ids.enumerated().map { ($1, isWeighted ? workspace.gates.weights[$0] : 1) }
        guard isCoupled(temperature) else { return FinalProgram(items: items, fired: [], isCoupled: false) }
        let (rules, bids) = (workspace.slice.fired.rules(ofText: 0), workspace.slice.fired.bids(ofText: 0))
        return FinalProgram(items: items, fired: zip(rules, bids).map { ($0, $1) }, isCoupled: true)
    }

    /// Records `text` and the vector that an engine gives it as the test that the model brings along.
    package static func recordSelfTest(_ text: String, in contents: inout ModelContents) throws(ModelError) {
        let size = contents.records.shape.dimensions
        contents.selfTest = (text, [Float](repeating: 0, count: size))
        let engine = Engine(model: try Model(contents))
        contents.selfTest.vector = Array(engine.embed(TextBatch([text]), threads: 1).vector(0))
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
