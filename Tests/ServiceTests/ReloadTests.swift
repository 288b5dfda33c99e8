import Daemon
import Foundation
import Glibc
import Messages
import SAEClient
import SAEEngine
import SwiftProtobuf
import Synchronization
import TestPeers
import TestSupport
import Testing
import Wire

@Suite struct ReloadTests {
    private let texts = ["The cat watches the river.", "a dog"]

    private func vectors(_ engine: Engine, _ texts: [String]) -> [UInt32] {
        var workspace = engine.makeWorkspace()
        var batch = EmbeddingBatch(dimensions: engine.dimensions)
        engine.embed(TextBatch(texts), using: &workspace, into: &batch)
        return batch.vectors.map(\.bitPattern)
    }

    @Test func `a reload serves by the new model and tells its generation`() async throws {
        let fixture = try ServiceFixture()
        let client = try await Client(connectingTo: fixture.unixEndpoint)
        #expect(try await client.embed(texts).generation == fixture.engine.generation)
        let next = try fixture.writeModel(named: "second")
        #expect(vectors(next, texts) != vectors(fixture.engine, texts), "the models give other vectors")
        let outcome = try fixture.service.reload()
        #expect(outcome.before == fixture.engine.generation && outcome.after == next.generation)
        #expect(outcome.changed.isEmpty && outcome.needsRestart.isEmpty)
        let answer = try await client.embed(texts)
        #expect(answer.generation == next.generation)
        #expect(answer.vectors.map(\.bitPattern) == vectors(next, texts))
        #expect(try await client.information().model == "second")
        var old = EmbedOptions()
        old.generation = fixture.engine.generation
        await #expect(throws: ClientError.self) { try await client.embed(texts, options: old) }
        #expect(fixture.metric("sae_reloads_total{result=\"ok\"}") == 1)
        #expect(fixture.metric("sae_last_reload_success_timestamp_seconds") > 1_700_000_000)
        #expect(fixture.log.contains { $0.contains("generation_changed") })
    }

    @Test func `settings that may change do, others are named, and a same model stays`() async throws {
        let fixture = try ServiceFixture()
        fixture.readings.mutex.withLock { readings in
            let before = readings
            readings = {
                var configuration = try before()
                configuration.maximumTextsPerRequest = 1
                configuration.workerCount = 7
                return configuration
            }
        }
        let outcome = try fixture.service.reload()
        #expect(outcome.before == outcome.after)
        #expect(outcome.changed == ["limits.max_texts_per_request"] && outcome.needsRestart == ["workers.count"])
        let peer = try await RawPeer.greeted(fixture.unixEndpoint)
        try await peer.send(embedRequest(1, ["a", "b"]) + embedRequest(3, ["a"]))
        #expect(try await peer.words(2).sorted() == ["END 1 INVALID_ARGUMENT limits.max_texts_per_request", "message"])
        #expect(fixture.metric("sae_workers") == 2)
    }

    @Test func `a reload that fails leaves everything as it was`() async throws {
        let fixture = try ServiceFixture()
        let client = try await Client(connectingTo: fixture.unixEndpoint)
        try Data("no model".utf8).write(to: URL(fileURLWithPath: fixture.folder.path("broken")))
        try #require(rename(fixture.folder.path("broken"), fixture.folder.path("tiny.sae")) == 0)
        #expect(throws: Failure.self) { try fixture.service.reload() }
        struct Unreadable: Error {}
        fixture.readings.mutex.withLock { $0 = { throw Unreadable() } }
        #expect(throws: Failure.self) { try fixture.service.reload() }
        #expect(try await client.embed(texts).vectors.map(\.bitPattern) == vectors(fixture.engine, texts))
        #expect(fixture.metric("sae_reloads_total{result=\"failed\"}") == 2)
    }

    @Test func `under load no request is lost and each answer is of the generation that it names`() async throws {
        let fixture = try ServiceFixture()
        let sentences = GeneratedText.sentences(40, seed: 5)
        var expected: [UInt64: [UInt32]] = [fixture.engine.generation: vectors(fixture.engine, sentences)]
        let engines = try ["second", "third"].map { try fixture.writeModel(named: $0) }
        for engine in engines { expected[engine.generation] = vectors(engine, sentences) }
        let seen = try await fixture.whileEmbedding(sentences, expecting: expected) { someAnswers in
            for round in 0..<12 {
                await someAnswers()
                _ = try fixture.writeModel(named: round % 2 == 0 ? "second" : "third")
                try fixture.service.reload()
            }
        }
        #expect(seen.count >= 2 && seen.isSubset(of: Set(expected.keys)))
        #expect(await eventually { fixture.metric("sae_buffer_bytes") == 0 })
    }

    @Test func `a client reloads, learns what changed, and is told why not`() async throws {
        let fixture = try ServiceFixture()
        let stranger = try await Client(connectingTo: fixture.tcpEndpoint)
        await #expect { _ = try await stranger.reload() } throws: { ($0 as? ClientError)?.code == .permissionDenied }
        let next = try fixture.writeModel(named: "second")
        fixture.readings.mutex.withLock { readings in
            let before = readings
            readings = {
                var configuration = try before()
                configuration.maximumTextsPerRequest = 1
                configuration.workerCount = 7
                return configuration
            }
        }
        let client = try await Client(connectingTo: fixture.unixEndpoint)
        let report = try await client.reload()
        #expect(report.generationBefore == fixture.engine.generation && report.generationAfter == next.generation)
        #expect(report.changedSettings == ["limits.max_texts_per_request"] && report.settingsForRestart == ["workers.count"])
        struct Unreadable: Error {}
        fixture.readings.mutex.withLock { $0 = { throw Unreadable() } }
        await #expect { _ = try await client.reload() } throws: { ($0 as? ClientError)?.code == .failedPrecondition }
        #expect(try await client.information().generation == next.generation)
    }

    @Test func `an administrator reloads and drains over the wire, and nobody else does`() async throws {
        let fixture = try ServiceFixture { $0.drainLameDuck = .milliseconds(50) }
        let stranger = try await RawPeer.greeted(fixture.tcpEndpoint)
        try await stranger.send(request(1, method: 30) + request(3, method: 31))
        #expect(try await stranger.words(2) == ["END 1 PERMISSION_DENIED", "END 3 PERMISSION_DENIED"])
        let next = try fixture.writeModel(named: "second")
        let peer = try await RawPeer.greeted(fixture.unixEndpoint)
        try await peer.send(request(1, method: 30))
        let frame = try #require(try await peer.frame(within: 20))
        let answer = try #require(wireMessage(Sae_V1_ReloadResponse.self, frame.message))
        #expect(answer.before == fixture.engine.generation && answer.after == next.generation)
        let drain = Sae_V1_DrainRequest.with { $0.graceMs = 1_000 }
        try await peer.send(TestPeers.frame(.request, flags: .last, method: 31, stream: 3, message: wireBytes(drain)))
        var heard: [String] = []
        while heard.last != "closed" { heard.append(try await peer.words(within: 20)) }
        #expect(heard.filter { $0.hasPrefix("GOAWAY OK draining") }.count >= 2 && heard.contains("message"))
        fixture.service.waitUntilStopped()
    }
}
