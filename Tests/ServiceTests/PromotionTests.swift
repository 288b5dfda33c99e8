import Bytes
import Daemon
import KeyValueStore
import Models
import Programs
import RuleLibrary
import Rules
import SAEClient
import SAEEngine
import Synchronization
import TestPeers
import TestSupport
import Testing

/// A daemon that serves the promoted generation of a rule library.
@Suite struct PromotionTests {
    private let base: Model
    private let fixture: ServiceFixture
    private var library: String { fixture.folder.path("library") }

    init() throws {
        base = try TinyModel.open()
        fixture = try ServiceFixture()
        fixture.readings.mutex.withLock { [library = fixture.folder.path("library")] readings in
            let before = readings
            readings = {
                var configuration = try before()
                configuration.modelLibrary = library
                return configuration
            }
        }
    }

    /// Keeps a generation with the model's own rules, or none, whose phrases have the records of the model's, turned by some
    /// places; and gives an engine of it.
    private func add(hasRules: Bool = true, turned: Int = 0) throws -> (digest: Digest, engine: Engine) {
        let none = try RuleSet(vocabularyCount: base.phrases.vocabularyCount, phraseCount: 0)
        let count = base.phrases.phraseCount
        let size = base.tables.shape.recordBytes
        let own = TinyModel.contents.records.bytes.suffix(count * size)
        let generation = Generation(
            model: Digest(base.digest), origin: Origin(), rules: hasRules ? base.phrases : none,
            records: hasRules ? Array(own.dropFirst(turned * size) + own.prefix(turned * size)) : [])
        var worth = Worth(madeMilliseconds: 0, testVector: base.selfTest.vector)
        let draft = Engine(model: try generation.model(on: base, worth: worth, basePath: "tiny"))
        worth.testVector = draft.embed(TextBatch([base.selfTest.text]), threads: 1).vectors
        let engine = Engine(model: try generation.model(on: base, worth: worth, basePath: "tiny"))
        try engine.selfTest()
        var store = try Library(library, access: .writing)
        try store.add(generation, worth: worth)
        return (generation.digest, engine)
    }

    private func promote(_ digest: Digest) throws {
        var store = try Library(library, access: .writing)
        try store.promote(digest, milliseconds: 0)
        try fixture.service.reload()
    }

    @Test func `promotions under load lose nothing, and each answer is of the generation that it names`() async throws {
        let texts = ["the cat", "the river", "The cat watches the river."] + GeneratedText.sentences(40, seed: 5)
        let generations = try [add(), add(turned: 1), add(hasRules: false)]
        var expected = [fixture.engine.generation: fixture.vectors(texts).vectors.map(\.bitPattern)]
        for (_, engine) in generations {
            expected[engine.generation] = engine.embed(TextBatch(texts), threads: 1).vectors.map(\.bitPattern)
        }
        #expect(expected.count == 4 && Set(expected.values).count == 3, "the generations give other vectors, the first the model's")
        let seen = try await fixture.whileEmbedding(texts, expecting: expected) { someAnswers in
            for round in 0..<12 {
                await someAnswers()
                try promote(generations[round % 3].digest)
            }
            await someAnswers()
        }
        #expect(seen.isSuperset(of: generations.map(\.engine.generation)) && seen.isSubset(of: expected.keys))
        #expect(fixture.metric("sae_reloads_total{result=\"ok\"}") == 12)
        #expect(await eventually { fixture.metric("sae_buffer_bytes") == 0 })
    }

    @Test func `a library without a promoted generation leaves what serves, and a roll-back is one step`() async throws {
        let client = try await Client(connectingTo: fixture.unixEndpoint)
        let (first, second) = (try add(), try add(hasRules: false))
        #expect(throws: (any Error).self) { try fixture.service.reload() }
        #expect(try await client.information().generation == fixture.engine.generation)
        try promote(first.digest)
        try promote(second.digest)
        #expect(try await client.information().generation == second.engine.generation)
        do {
            var store = try Library(library, access: .writing)
            #expect(try store.promotePrevious(milliseconds: 0) == first.digest)
        }
        try fixture.service.reload()
        #expect(try await client.embed(["the cat"]).generation == first.engine.generation)
    }
}
