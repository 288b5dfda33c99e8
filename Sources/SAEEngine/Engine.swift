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
    /// P as float32.
    private let projection: [Float]
    package let scorer: ResilientScorer
    private let openingGeneration: UInt64
    private let substituteGeneration: UInt64
    private let annealer: Annealer

    /// Opens and checks a model file; context rules are scored on the CPU.
    public init(contentsOf path: String) throws(EngineError) {
        try self.init(contentsOf: path, scorer: .cpu)
    }

    package init(contentsOf path: String, scorer: ScorerSettings) throws(EngineError) {
        do throws(ModelError) { self.init(model: try Model(path), scorer: scorer) } catch { throw EngineError(error) }
    }

    package init(model: Model, scorer settings: ScorerSettings = .cpu, instructionSet: InstructionSet = .best) {
        self.model = model
        self.instructionSet = instructionSet
        projection = model.tables.projection.floats
        scorer = ResilientScorer(model.contextRules, settings)
        openingGeneration = Self.generation(model.digest, scorer.numerics)
        substituteGeneration = Self.generation(model.digest, scorer.substituteNumerics)
        annealer = Annealer(rules: model.phrases)
    }

    /// Length of a vector.
    public var dimensions: Int { model.dimensions }
    public var modelName: String { model.name }
    /// SHA-256 of the model's contents.
    public var digest: [UInt8] { model.digest }
    public var vocabularyCount: Int { model.tables.vocabularyCount }

    /// The name of the arithmetic: it changes whenever a bit of a vector may, also when a device fails.
    public var numerics: String { scorer.numerics }

    /// Names the bits: the first 8 bytes, little-endian, of SHA-256(digest ‖ numerics name). Two engines of one
    /// generation give the same vectors. It changes when a device fails and the CPU takes over.
    public var generation: UInt64 { generation(of: numerics) }

    /// The generation that the last batch of a workspace belongs to.
    public func generation(of workspace: borrowing Workspace) -> UInt64 {
        workspace.slice.numerics.map { generation(of: $0) } ?? generation
    }

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
                    for row in slice {
                        let text = UnsafeBufferPointer(rebasing: bytes[texts.range(of: range.lowerBound + row)])
                        batch.outcomes.append(
                            sum(
                                text, limits: limits, temperature: temperature, using: &workspace, place: row - first,
                                into: firstRow + row * dimensions))
                    }
                    guard isCoupled(temperature) else { continue }
                    let numerics = applyContextRules(
                        &batch.outcomes, slice, using: &workspace.slice, into: firstRow + first * dimensions)
                    guard workspace.slice.numerics ?? numerics == numerics else { return false }
                    workspace.slice.numerics = numerics
                }
                return true
            }
        }
    }

    private func isCoupled(_ temperature: Temperature) -> Bool {
        temperature != .infinite && model.tables.lifts.count > 0
    }

    /// One text up to its weighted sum: pieces, program, annealing, gates. The unit sum goes to `row`, and with the
    /// features of the couplings to place `place` of the slice.
    private func sum(
        _ text: UnsafeBufferPointer<UInt8>, limits: TextLimits, temperature: Temperature,
        using workspace: inout Workspace, place: Int, into row: UnsafeMutablePointer<Float>
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
        if !annealer.rules.isEmpty, temperature != .infinite {
            anneal(&workspace.stream, using: &workspace.annealing, context: &workspace.gates)
        }
        let isDirected = workspace.stream.operands.withUnsafeBufferPointer { ids in
            weigh(ids, temperature: temperature, using: &workspace.gates, into: row)
                && couple(ids, temperature: temperature, using: &workspace.slice, place: place, sum: row)
        }
        guard isDirected else {
            row.update(repeating: 0, count: dimensions)
            return RowOutcome(status: .noDirection, pieceCount: 0, isTruncated: false)
        }
        return RowOutcome(status: .ok, pieceCount: count, isTruncated: wasCut || used.count < text.count)
    }

    /// The discrete rules (section 6): they see the context of the pieces as they were read.
    private func anneal(
        _ stream: inout ProgramStream, using workspace: inout AnnealingWorkspace,
        context memory: inout GateMemory
    ) {
        if model.phrases.contextDimensions > 0 {
            grow(&memory.bag, to: dimensions)
            for d in 0..<dimensions { memory.bag[d] = 0 }
            stream.operands.withUnsafeBufferPointer {
                sae_add_records(
                    instructionSet.rawValue, model.tables.records.columns, $0.baseAddress, nil, $0.count,
                    &memory.bag)
            }
            _ = memory.bag.withUnsafeMutableBufferPointer { bag in
                bag.baseAddress.map { normalize($0, count: dimensions, into: $0) }
            }
            findContext(&memory)
        }
        let count = model.phrases.contextDimensions
        _ = annealer.anneal(
            &stream, context: memory.context.span.extracting(first: count), using: &workspace)
    }

    /// P x̂.
    private func findContext(_ memory: inout GateMemory) {
        let rank = model.tables.shape.contextRank
        grow(&memory.context, to: rank)
        sae_multiply_rows(instructionSet.rawValue, projection, rank, dimensions, memory.bag, &memory.context)
    }

    /// The scale rules (algorithm.md, section 3): the plain sum gives the context, the context the weights, and these the
    /// sum, made unit. False when a sum has no direction.
    private func weigh(
        _ ids: UnsafeBufferPointer<UInt32>, temperature: Temperature, using memory: inout GateMemory,
        into row: UnsafeMutablePointer<Float>
    ) -> Bool {
        let (shape, records, set) = (model.tables.shape, model.tables.records.columns, instructionSet.rawValue)
        sae_add_records(set, records, ids.baseAddress, nil, ids.count, row)
        guard shape.hasGates, temperature != .infinite else { return normalize(row, count: dimensions, into: row) }
        grow(&memory.bag, to: dimensions)
        grow(&memory.weights, to: ids.count)
        guard memory.bag.withUnsafeMutableBufferPointer({ normalize(row, count: dimensions, into: $0.baseAddress) }) else {
            return false
        }
        findContext(&memory)
        sae_gate_weights(
            set, records, memory.context, model.tables.neighbours, 1 / degrees(temperature), ids.baseAddress, ids.count,
            &memory.weights)
        row.update(repeating: 0, count: dimensions)
        sae_add_records(set, records, ids.baseAddress, memory.weights, ids.count, row)
        return normalize(row, count: dimensions, into: row)
    }

    /// The couplings (section 4): features of the text into its place of the slice.
    private func couple(
        _ ids: UnsafeBufferPointer<UInt32>, temperature: Temperature, using memory: inout SliceMemory, place: Int,
        sum: UnsafeMutablePointer<Float>
    ) -> Bool {
        guard isCoupled(temperature) else { return true }
        let (shape, count) = (model.tables.shape, model.tables.shape.couplingCount)
        memory.features.withUnsafeMutableBufferPointer { features in
            guard let base = features.baseAddress else { return }
            let x = base + place * shape.featureCount
            let z = x + dimensions
            x.update(from: sum, count: dimensions)
            z.update(repeating: 0, count: count)
            sae_add_couplings(
                instructionSet.rawValue, model.tables.records.columns, model.tables.couplings, ids.baseAddress, ids.count, z)
            let scale = couplingScale(itemCount: ids.count)
            for feature in 0..<count { z[feature] *= scale }
        }
        return true
    }

    /// The context rules (section 5): bids of the whole slice, then what fired is added to each text's vector. The name of
    /// the arithmetic.
    private func applyContextRules(
        _ outcomes: inout [RowOutcome], _ rows: Range<Int>, using memory: inout SliceMemory,
        into vectors: UnsafeMutablePointer<Float>
    ) -> String {
        let (size, couplings) = (model.tables.shape.featureCount, model.tables.shape.couplingCount)
        for place in 0..<rows.count where outcomes[rows.lowerBound + place].status != .ok {
            for feature in place * size..<(place + 1) * size { memory.features[feature] = 0 }
        }
        let numerics = memory.features.withUnsafeBufferPointer { features in
            guard let base = features.baseAddress else { return scorer.numerics }
            model.tables.lifts.addLeading(
                couplings, factors: base + dimensions, stride: size, textCount: rows.count, using: instructionSet,
                to: vectors)
            return memory.session.fire(
                UnsafeBufferPointer(rebasing: features[..<(rows.count * size)]), into: &memory.fired)
        }
        for place in 0..<rows.count where outcomes[rows.lowerBound + place].status == .ok {
            let row = vectors + place * dimensions
            let (rules, bids) = (memory.fired.rules(ofText: place), memory.fired.bids(ofText: place))
            for index in rules.indices { memory.firedRows[index] = UInt32(couplings) + rules[index] }
            memory.firedRows.withUnsafeBufferPointer { ids in
                model.tables.lifts.add(
                    UnsafeBufferPointer(rebasing: ids[..<rules.count]), weights: bids.baseAddress, using: instructionSet,
                    to: row)
            }
            if !normalize(row, count: dimensions, into: row) {
                outcomes[rows.lowerBound + place] = RowOutcome(status: .noDirection, pieceCount: 0, isTruncated: false)
            }
        }
        return numerics
    }

    private func degrees(_ temperature: Temperature) -> Float { temperature.degrees ?? model.tables.temperature }

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

/// Makes room for `count` numbers; allocates only to grow.
private func grow(_ values: inout [Float], to count: Int) {
    if values.count < count { values.append(contentsOf: repeatElement(0, count: count - values.count)) }
}

/// The largest cut of at most `limit` bytes that is not inside a UTF-8 sequence.
private func characterBorder(in text: UnsafeBufferPointer<UInt8>, atMost limit: Int) -> Int {
    var cut = limit
    while cut > 0, limit - cut < 4, text[cut] & 0xc0 == 0x80 { cut -= 1 }
    return text[cut] & 0xc0 == 0x80 ? limit : cut
}
