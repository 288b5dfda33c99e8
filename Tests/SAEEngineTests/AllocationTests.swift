import CAllocationCounter
import SAEEngine
import TestSupport
import Testing

@Suite struct AllocationTests {
    @Test(arguments: [Temperature.fitted, .infinite, .classification])
    func `a batch of 1,000 texts allocates nothing once warm`(temperature: Temperature) throws {
        let engine = Engine(model: try TinyModel.open())
        let texts = TextBatch(GeneratedText.sentences(1000, seed: 21))
        var workspace = engine.makeWorkspace()
        var batch = EmbeddingBatch(dimensions: engine.dimensions)
        let cold = sae_thread_allocations()
        engine.embed(texts, temperature: temperature, using: &workspace, into: &batch)
        #expect(sae_thread_allocations() > cold, "the counter counts")
        engine.embed(texts, temperature: temperature, using: &workspace, into: &batch)
        let before = sae_thread_allocations()
        engine.embed(texts, temperature: temperature, using: &workspace, into: &batch)
        #expect(sae_thread_allocations() == before)
    }
}
