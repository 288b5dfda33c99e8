import Models
import Programs
import SAEEngine
import TestSupport
import Testing

@Suite struct RowTests {
    private let engine: Engine

    init() throws { engine = Engine(model: try TinyModel.open()) }

    private func embed(_ texts: TextBatch, limits: TextLimits = TextLimits()) -> EmbeddingBatch {
        engine.embed(texts, limits: limits, threads: 1)
    }

    private func bits(_ vectors: some Sequence<Float>) -> [UInt32] { vectors.map(\.bitPattern) }

    @Test func `texts without a piece are zero rows and spoil no neighbour`() {
        let alone = embed(TextBatch(["river"]))
        let batch = embed(TextBatch(["", "river", "   \t\n", "river"]))
        #expect(batch.outcomes.map(\.status) == [.noPieces, .ok, .noPieces, .ok])
        #expect(bits(batch.vector(0)).allSatisfy { $0 == 0 } && bits(batch.vector(2)).allSatisfy { $0 == 0 })
        #expect(bits(batch.vector(1)) == bits(alone.vectors) && bits(batch.vector(3)) == bits(alone.vectors))
        #expect(embed(TextBatch()).count == 0)
    }

    @Test func `a text over the limit of pieces is an error, or its leading pieces`() throws {
        let text = "river letter carry home stone"
        let pieces = embed(TextBatch([text])).outcomes[0].pieceCount
        #expect(pieces > 3)
        var limits = TextLimits(maximumPieces: pieces)
        #expect(embed(TextBatch([text]), limits: limits).outcomes[0].status == .ok)
        limits.maximumPieces = 3
        #expect(embed(TextBatch([text]), limits: limits).outcomes[0].status == .tooManyPieces)
        limits.truncates = true
        let cut = embed(TextBatch([text]), limits: limits)
        #expect(cut.outcomes[0] == RowOutcome(status: .ok, pieceCount: 3, isTruncated: true))
        var machine = Machine(tables: engine.model.tables)
        var workspace = engine.makeWorkspace()
        var whole = EmbeddingBatch(dimensions: engine.dimensions)
        engine.embed(TextBatch([text]), using: &workspace, into: &whole)
        let leading = workspace.stream.operands.prefix(3).flatMap { [Instruction.lexeme($0), .add] } + [.normalize]
        let bag = engine.embed(TextBatch([text]), limits: limits, temperature: .infinite, threads: 1)
        #expect(bits(bag.vectors) == bits(try machine.run(leading, fuel: 7)))
    }

    @Test func `a batch from bytes and lengths is refused when they do not add up`() {
        #expect(TextBatch(bytes: [1, 2, 3], lengths: [1, 1]) == nil)
        #expect(TextBatch(bytes: [1, 2, 3], lengths: [2, 2]) == nil)
        #expect(TextBatch(bytes: [1, 2, 3], lengths: [UInt32.max]) == nil)
        #expect(TextBatch(bytes: [1, 2, 3], lengths: [0, 3])?.range(of: 1) == 0..<3)
    }

    @Test func `the generation follows the model and nothing else`() throws {
        let folder = try TemporaryFolder()
        #expect(try Engine(contentsOf: TinyModel.write(in: folder)).generation == engine.generation)
        var contents = TinyModel.contents
        contents.name = "other"
        try contents.write(to: folder.path("other.sae"))
        #expect(try Engine(contentsOf: folder.path("other.sae")).generation != engine.generation)
    }
}
