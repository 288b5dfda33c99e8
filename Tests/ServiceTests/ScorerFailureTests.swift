import Daemon
import Programs
import SAEClient
import SAEEngine
import Scoring
import TestPeers
import TestSupport
import Testing

/// A device that fails is the log's business, and no client's.
@Suite(.serialized) struct ScorerFailureTests {
    /// Takes the device away from a session, which meets the error and gives the device up for all.
    private func loseDevice(of engine: Engine) throws { try loseDevice(of: engine.scorer.makeSession()) }

    private func loseDevice(of session: ResilientSession) throws {
        try #require(session.primary as? any DeviceSession, "these tests need PoCL").loseDevice()
        let features = [Float](repeating: 0, count: TinyModel.shape.featureCount)
        var fired = FiredRules(ruleCount: TinyModel.shape.ruleCount, textCapacity: 1)
        #expect(features.withUnsafeBufferPointer { session.fire($0, into: &fired) } == "cpu-3")
    }

    private func expectOneFallback(_ fixture: ServiceFixture) async {
        #expect(await eventually { fixture.metric("sae_scorer_fallbacks_total") == 1 })
        #expect(await eventually { fixture.log.count { $0.contains("scorer_fallback") } == 1 })
    }

    @Test func `a device lost in mid-request costs time and no answer`() async throws {
        let fixture = try ServiceFixture(scorer: .opencl) { $0.batchMaximumTexts = 16 }
        let opening = fixture.engine.generation
        let client = try await Client(connectingTo: fixture.unixEndpoint)
        let sentences = GeneratedText.sentences(80_000, seed: 17)
        let texts = stride(from: 0, to: sentences.count, by: 20).map {
            sentences[$0..<$0 + 20].joined(separator: " ")
        }
        let session = fixture.engine.scorer.makeSession()
        var options = EmbedOptions()
        options.countsPieces = true
        async let answering = client.embed(texts, options: options, timeout: .seconds(60) * patience)
        #expect(await eventually(60) { fixture.metric("sae_batch_texts_count") > 0 })
        #expect(fixture.engine.generation == opening)
        try loseDevice(of: session)
        let answer = try await answering
        #expect(answer.errors.isEmpty)
        #expect(answer.generation == fixture.engine.generation)
        #expect(answer.generation != opening)
        // As one truth: describing how a million numbers differ takes hours.
        let areSame = answer.vectors.map(\.bitPattern) == fixture.vectors(texts).vectors.map(\.bitPattern)
        #expect(areSame)
        // What the device had computed was computed again.
        #expect(fixture.metric("sae_pieces_total") > Double(answer.pieceCounts.reduce(0, +)))
        await expectOneFallback(fixture)
    }

    @Test func `a device lost before the daemon is ready is told at the start`() async throws {
        let fixture = try ServiceFixture(scorer: .opencl, prepare: loseDevice)
        await expectOneFallback(fixture)
        let client = try await Client(connectingTo: fixture.unixEndpoint)
        #expect(try await client.embed(["a dog"]).generation == fixture.engine.generation)
        await expectOneFallback(fixture)
    }
}
