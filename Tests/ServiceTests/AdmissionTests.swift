import Daemon
import Messages
import SAEClient
import SwiftProtobuf
import Synchronization
import TestPeers
import TestSupport
import Testing
import Wire

/// Who is let in, and in which order.
@Suite(.serialized) struct AdmissionTests {
    struct Overload: Sendable, CustomTestStringConvertible {
        var testDescription: String { limit }
        var limit: String
        var texts: [String]
        var configure: @Sendable (inout Configuration) -> Void
    }

    @Test(arguments: [
        Overload(limit: "queue.max_texts", texts: ["a", "b", "c", "d", "e"]) { $0.queueMaximumTexts = 4 },
        Overload(limit: "queue.max_pieces", texts: [String](repeating: "x", count: 400)) { $0.queueMaximumPieces = 100 },
    ])
    func `overload is refused at once with its limit and a time to come back`(_ overload: Overload) async throws {
        let fixture = try ServiceFixture(overload.configure)
        let peer = try await RawPeer.greeted(fixture.tcpEndpoint)
        try await peer.send(embedRequest(1, overload.texts))
        let frame = try #require(try await peer.frame())
        #expect(words(frame) == "END 1 RESOURCE_EXHAUSTED refused \(overload.limit)")
        let status = try #require(wireMessage(Sae_V1_Status.self, frame.message))
        #expect((10...1_000).contains(status.retryAfterMs))
        let metrics = fixture.metrics
        #expect(metrics.requestCount(.embed, code: 8) == 1 && metrics.refusals[overload.limit].value == 1)
        #expect(
            await eventually {
                fixture.log.contains { $0.contains("\"event\":\"refused\"") && $0.contains(overload.limit) }
            })
        // Nothing stays reserved for what was refused.
        #expect(fixture.metric("sae_buffer_bytes") == 0)
        try await peer.send(embedRequest(3, ["a"]))
        #expect(try await peer.words() == "message")
    }

    /// Beside a request with 5 MB of texts and an answer of 1.1 MB.
    @Test(arguments: [
        Overload(limit: "limits.max_connection_output_bytes", texts: [String](repeating: "a", count: 1_000)) {
            $0.maximumConnectionOutputBytes = 2_000_000
        },
        Overload(limit: "limits.max_buffer_bytes", texts: [String](repeating: "a", count: 1_000)) { $0.maximumBufferBytes = 6_500_000 },
    ])
    func `an answer that finds no room now is refused, to be asked for again`(_ overload: Overload) async throws {
        let (fixture, peer) = try await busyFixture(overload.configure)
        try await peer.send(embedRequest(3, overload.texts))
        let end = try #require(try await peer.frame())
        #expect(words(end) == "END 3 RESOURCE_EXHAUSTED refused \(overload.limit)")
        let status = try #require(wireMessage(Sae_V1_Status.self, end.message))
        #expect((10...1_000).contains(status.retryAfterMs))
        #expect(fixture.metrics.refusals[overload.limit].value == 1)
        try await peer.send(frame(.cancel, stream: 1))
        #expect(try await peer.words() == "END 1 CANCELLED")
        #expect(await eventually { fixture.metric("sae_buffer_bytes") == 0 })
        try await peer.send(embedRequest(5, overload.texts))
        #expect(try await peer.words() == "message")
    }

    @Test(arguments: [
        Overload(limit: "limits.max_connection_output_bytes", texts: [String](repeating: "a", count: 70)) {
            $0.maximumConnectionOutputBytes = 65_536
        },
        Overload(limit: "limits.max_buffer_bytes", texts: [String](repeating: "a", count: 1_000)) { $0.maximumBufferBytes = 1_048_576 },
    ])
    func `an answer that can never be held is refused for good`(_ overload: Overload) async throws {
        let fixture = try ServiceFixture(overload.configure)
        let peer = try await RawPeer.greeted(fixture.tcpEndpoint)
        try await peer.send(embedRequest(1, overload.texts))
        let frame = try #require(try await peer.frame())
        #expect(words(frame) == "END 1 INVALID_ARGUMENT \(overload.limit)")
        #expect(try #require(wireMessage(Sae_V1_Status.self, frame.message)).retryAfterMs == 0)
        #expect(await eventually { fixture.metric("sae_buffer_bytes") == 0 })
    }

    @Test func `a chunk whose answer can never be held ends its stream, where one that is refused would wait`() async throws {
        let fixture = try ServiceFixture { $0.maximumConnectionOutputBytes = 65_536 }
        let client = try await Client(connectingTo: fixture.unixEndpoint)
        let texts = AsyncStream<String> { continuation in
            for _ in 0..<256 { continuation.yield("a dog") }
            continuation.finish()
        }
        await #expect { for try await _ in client.embedStream(texts) {} } throws: { ($0 as? ClientError)?.code == .invalidArgument }
        client.close()
    }

    @Test func `a request that would wait too long is refused now`() async throws {
        let fixture = try ServiceFixture {
            PressureTests.slowDown(&$0)
            $0.queueMaximumWait = .milliseconds(1)
            $0.batchMaximumTexts = 10
        }
        let first = try await RawPeer.greeted(fixture.unixEndpoint)
        try await first.send(embedRequest(1, PressureTests.slowTexts(10, bytes: 4_000)))
        #expect(try await first.words() == "message")
        // The time that a piece takes is known by now.
        try await first.send(embedRequest(3, PressureTests.slowWork))
        #expect(await eventually { fixture.metric("sae_queue_texts") > 0 })
        let second = try await RawPeer.greeted(fixture.unixEndpoint)
        try await second.send(embedRequest(1, ["x"]))
        #expect(try await second.words() == "END 1 RESOURCE_EXHAUSTED refused queue.max_wait_ms")
        try await first.send(frame(.cancel, stream: 3))
        #expect(try await first.words() == "END 3 CANCELLED")
    }

    @Test func `a chunk that waits for room comes before requests that come later`() async throws {
        let fixture = try ServiceFixture {
            PressureTests.slowDown(&$0)
            $0.queueMaximumTexts = 2_000
        }
        let (busy, early, late) = (
            try await RawPeer.greeted(fixture.unixEndpoint), try await RawPeer.greeted(fixture.unixEndpoint),
            try await RawPeer.greeted(fixture.unixEndpoint))
        try await busy.send(embedRequest(1, PressureTests.slowTexts(2_000, bytes: 7_500)))
        #expect(await eventually { fixture.metric("sae_queue_texts") == 0 && fixture.metric("sae_request_texts_count") == 1 })
        try await early.send(embedRequest(1, [String](repeating: "x", count: 1_900)))
        #expect(await eventually { fixture.metric("sae_queue_texts") == 1_900 })
        let streaming = try await RawPeer.greeted(fixture.unixEndpoint, window: 1_048_576)
        let chunk = wireBytes(Sae_V1_EmbedChunk.with { $0.lengths = [UInt32](repeating: 1, count: 200) })
        try await streaming.send(
            frame(.request, method: Method.embedStream.rawValue, stream: 1)
                + frame(.message, flags: .last, stream: 1, message: chunk, attachment: [UInt8](repeating: 97, count: 200)))
        #expect(await eventually { fixture.metric("sae_request_texts_count") == 3 })
        // There would be room for it, were it not for the chunk.
        try await late.send(embedRequest(1, [String](repeating: "x", count: 50)))
        #expect(try await late.words() == "END 1 RESOURCE_EXHAUSTED refused queue.max_texts")
        try await busy.send(frame(.cancel, stream: 1))
        #expect(try await early.words(within: 20) == "message")
        #expect(try await streaming.words(within: 20) == "message")
        try await late.send(embedRequest(3, [String](repeating: "x", count: 50)))
        #expect(try await late.words(within: 20) == "message")
    }

    @Test func `a chunk that waits and is given up leaves no place taken`() async throws {
        let fixture = try ServiceFixture {
            PressureTests.slowDown(&$0)
            $0.queueMaximumTexts = 2_000
        }
        let busy = try await RawPeer.greeted(fixture.unixEndpoint)
        try await busy.send(embedRequest(1, PressureTests.slowTexts(2_000, bytes: 7_500)))
        #expect(await eventually { fixture.metric("sae_queue_texts") == 0 && fixture.metric("sae_request_texts_count") == 1 })
        let peer = try await RawPeer.greeted(fixture.unixEndpoint, window: 1_048_576)
        let chunk = wireBytes(Sae_V1_EmbedChunk.with { $0.lengths = [UInt32](repeating: 1, count: 200) })
        try await peer.send(embedRequest(1, [String](repeating: "x", count: 1_900)))
        #expect(await eventually { fixture.metric("sae_queue_texts") == 1_900 })
        try await peer.send(
            frame(.request, method: Method.embedStream.rawValue, stream: 3)
                + frame(.message, stream: 3, message: chunk, attachment: [UInt8](repeating: 97, count: 200)))
        #expect(await eventually { fixture.metric("sae_request_texts_count") == 3 })
        try await peer.send(frame(.cancel, stream: 3) + embedRequest(5, [String](repeating: "x", count: 100)))
        #expect(try await peer.words() == "END 3 CANCELLED")
        try await busy.send(frame(.cancel, stream: 1))
        #expect(try await peer.words(2) == ["message", "message"])
        #expect(await eventually { fixture.metric("sae_buffer_bytes") == 0 && fixture.metric("sae_queue_texts") == 0 })
    }

    @Test func `a request gets in beside streams that keep the queue full`() async throws {
        let fixture = try ServiceFixture {
            $0.workerCount = 1
            $0.queueMaximumTexts = 300
        }
        let isOver = Mutex<Bool>.Box(false)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<6 {
                group.addTask { [endpoint = fixture.unixEndpoint] in
                    let client = try await Client(connectingTo: endpoint)
                    let texts = AsyncStream<String>(unfolding: { isOver.mutex.withLock { $0 } ? nil : "The cat watches the river." })
                    for try await _ in client.embedStream(texts) {}
                    client.close()
                }
            }
            let peer = try await RawPeer.greeted(fixture.unixEndpoint)
            var (stream, answered) = (1 as UInt32, 0)
            #expect(await eventually { fixture.metric("sae_request_texts_count") > 20 })
            let isIn = try await eventually(20) {
                try await peer.send(embedRequest(stream, ["x"]))
                stream += 2
                if try await peer.words(within: 20) == "message" { answered += 1 }
                return answered == 10
            }
            #expect(isIn)
            isOver.mutex.withLock { $0 = true }
            try await group.waitForAll()
        }
    }

    @Test func `the predicted wait knows what answers take`() async throws {
        let fixture = try ServiceFixture(PressureTests.slowDown)
        let texts = [String](repeating: "x", count: 512)
        let peer = try await RawPeer.greeted(fixture.unixEndpoint)
        // A matrix of 512 by 512, which takes far longer than the vectors of such texts.
        let message = wireBytes(Sae_V1_SimilarityRequest.with { $0.lengths = [UInt32](repeating: 1, count: 512) })
        let calls = 20
        for call in 0..<calls {
            try await peer.send(
                frame(
                    .request, flags: .last, method: Method.similarity.rawValue, stream: UInt32(2 * call + 1), message: message,
                    attachment: Array(texts.joined().utf8)))
            #expect(try await peer.words(within: 20) == "message")
        }
        let busy = fixture.metric("sae_worker_busy_seconds_total")
        try await peer.send(embedRequest(1_001, PressureTests.slowWork))
        #expect(await eventually { fixture.metric("sae_queue_texts") == 0 && fixture.metric("sae_streams{transport=\"unix\"}") == 1 })
        try await peer.send(embedRequest(1_003, texts))
        #expect(await eventually { fixture.metric("sae_queue_texts") == 512 })
        #expect(fixture.metric("sae_queue_wait_seconds") > busy / Double(calls) / 3)
        try await peer.send(frame(.cancel, stream: 1_001))
        #expect(try await peer.words(2) == ["END 1001 CANCELLED", "message"])
    }

    @Test func `streams over the limit are refused and counted`() async throws {
        let (fixture, peer) = try await busyFixture { $0.maximumStreamsPerConnection = 2 }
        try await peer.send(embedRequest(3, ["x"]) + embedRequest(5, ["x"]))
        let said = try await peer.words()
        #expect(said == "END 5 RESOURCE_EXHAUSTED refused limits.max_streams_per_connection")
        #expect(fixture.metrics.requestCount(.embed, code: 8) == 1)
        #expect(fixture.metric("sae_refusals_total{limit=\"limits.max_streams_per_connection\"}") == 1)
        for stream: UInt32 in [1, 3] { try await peer.send(frame(.cancel, stream: stream)) }
    }

    @Test func `calls that the protocol's rules end are counted by method and code`() async throws {
        let fixture = try ServiceFixture { $0.maximumFrameBytes = 65_536 }
        let peer = try await RawPeer.greeted(fixture.unixEndpoint)
        try await peer.send(request(1, method: 99) + request(3, method: 1, flags: []))
        try await peer.send(embedRequest(5, [[UInt8](repeating: 97, count: 70_000)]))
        #expect(
            try await peer.words(3) == [
                "END 1 UNIMPLEMENTED", "END 3 UNIMPLEMENTED", "END 5 INVALID_ARGUMENT limits.max_frame_bytes",
            ])
        #expect(fixture.metrics.requestCount(nil, code: 12) == 1)
        #expect(fixture.metrics.requestCount(.embed, code: 12) == 1)
        #expect(fixture.metrics.requestCount(.embed, code: 3) == 1)
    }

    /// A daemon whose only worker is busy for a while with one slice, so that what comes next queues up.
    private func busyFixture(
        _ configure: (inout Configuration) -> Void = { _ in }
    ) async throws -> (ServiceFixture, RawPeer) {
        let fixture = try ServiceFixture {
            PressureTests.slowDown(&$0)
            configure(&$0)
        }
        let peer = try await RawPeer.greeted(fixture.unixEndpoint)
        try await peer.send(embedRequest(1, PressureTests.slowWork))
        #expect(await eventually { fixture.metric("sae_streams{transport=\"unix\"}") == 1 })
        return (fixture, peer)
    }

    /// How long the next request that is answered has waited, in microseconds.
    private func wait(of peer: RawPeer) async throws -> UInt32 {
        let frame = try #require(try await peer.frame(within: 30))
        return try #require(wireMessage(Sae_V1_EmbedResponse.self, frame.message)).queueUs
    }

    @Test func `a small request is not behind all that another connection has waiting`() async throws {
        let (fixture, blocker) = try await busyFixture()
        let greedy = try await RawPeer.greeted(fixture.unixEndpoint)
        let modest = try await RawPeer.greeted(fixture.unixEndpoint)
        let slow = PressureTests.slowTexts(20, bytes: 4_000)
        try await greedy.send((0..<50).flatMap { embedRequest(UInt32(2 * $0 + 1), slow) })
        try await modest.send(embedRequest(1, ["x"]))
        let blocked = try await wait(of: blocker)
        let modestWait = try await wait(of: modest)
        var greedyWaits: [UInt32] = []
        for _ in 0..<50 { greedyWaits.append(try await wait(of: greedy)) }
        // Both waited for the busy worker; then the small one for a slice or two, and not for fifty requests.
        #expect(blocked < greedyWaits[0])
        #expect(modestWait < greedyWaits[10], "\(modestWait) \(greedyWaits)")
    }

    @Test func `many connections get the same share of one worker`() async throws {
        let (fixture, blocker) = try await busyFixture()
        let slow = PressureTests.slowTexts(4, bytes: 2_000)
        var peers: [RawPeer] = []
        for _ in 0..<4 { peers.append(try await RawPeer.greeted(fixture.unixEndpoint)) }
        // The first asks first, and for four times as much as the others.
        for (index, peer) in peers.enumerated() {
            try await peer.send((0..<(index == 0 ? 80 : 20)).flatMap { embedRequest(UInt32(2 * $0 + 1), slow) })
        }
        #expect(try await blocker.words(within: 30) == "message")
        var waits: [[UInt32]] = []
        for (index, peer) in peers.enumerated() {
            waits.append([])
            for _ in 0..<(index == 0 ? 80 : 20) { waits[index].append(try await wait(of: peer)) }
        }
        // Everybody's twentieth is computed in the same round, and the rest of the first one's after that.
        for other in waits[1...] { #expect(other[19] < waits[0][30], "\(waits)") }
    }

    @Test func `a lone request meets an idle worker`() async throws {
        let fixture = try ServiceFixture()
        let client = try await Client(connectingTo: fixture.unixEndpoint)
        var waits: [Duration] = []
        for _ in 0..<51 {
            waits.append(
                try await client.embed(bytes: [120], lengths: [1], as: .float32).queueTime)
        }
        // No batch is waited for: what is left is one hand-over between threads.
        #expect(waits.sorted()[25] < .milliseconds(5) * patience)
    }
}
