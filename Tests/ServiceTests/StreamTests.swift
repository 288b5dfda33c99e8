import Daemon
import Messages
import SAEEngine
import SwiftProtobuf
import TestPeers
import TestSupport
import Testing
import Wire

/// Health.Watch, Trace and EmbedStream over real sockets.
@Suite struct StreamTests {
    private func chunk(_ stream: UInt32, _ texts: [String], flags: FrameFlags = []) -> [UInt8] {
        let bytes = texts.map { Array($0.utf8) }
        let message = Sae_V1_EmbedChunk.with { $0.lengths = bytes.map { UInt32($0.count) } }
        return frame(.message, flags: flags, stream: stream, message: wireBytes(message), attachment: Array(bytes.joined()))
    }

    private func opening(_ stream: UInt32, timeout: UInt32 = 0, _ options: (inout Sae_V1_EmbedRequest) -> Void = { _ in }) -> [UInt8] {
        var message = Sae_V1_EmbedRequest()
        options(&message)
        return frame(.request, method: 2, stream: stream, argument: timeout, message: wireBytes(message))
    }

    /// The vectors of an answer, as bits.
    private func bits(_ frame: Frame) -> [UInt32] {
        frame.attachment.withUnsafeBytes { bytes in
            stride(from: 0, to: bytes.count, by: 4).map { bytes.loadUnaligned(fromByteOffset: $0, as: UInt32.self) }
        }
    }

    @Test func `each chunk of a stream is answered in order with the bits of its texts`() async throws {
        let fixture = try ServiceFixture { $0.batchMaximumTexts = 3 }
        let chunks = (0..<20).map { GeneratedText.sentences(1 + $0 * 7 % 11, seed: UInt64($0)) }
        let peer = try RawPeer(fixture.unixEndpoint)
        try await peer.send(helloFrame(maximumFrameBytes: 4_194_304, window: 4_194_304) + opening(1))
        try await peer.send(chunks.enumerated().flatMap { chunk(1, $0.element, flags: $0.offset == 19 ? .last : []) })
        #expect(try await peer.words() == "hello")
        var answers: [Frame] = []
        while let frame = try await peer.frame(within: 20), frame.header.type != .end {
            if frame.header.type == .message { answers.append(frame) }
        }
        #expect(answers.count == 20 && answers.allSatisfy { !$0.header.flags.contains(.last) })
        for (answer, texts) in zip(answers, chunks) {
            let fields = try #require(wireMessage(Sae_V1_EmbedResponse.self, answer.message))
            #expect(fields.count == texts.count && fields.generation == fixture.engine.generation)
            #expect(bits(answer) == fixture.vectors(texts).vectors.map(\.bitPattern))
        }
        #expect(await eventually { fixture.metric("sae_buffer_bytes") == 0 })
        #expect(fixture.metrics.requestCount(.embedStream, code: 0) == 1)
    }

    @Test func `the server sends no more than the client's window and goes on with its credit`() async throws {
        let fixture = try ServiceFixture()
        let peer = try RawPeer(fixture.unixEndpoint)
        try await peer.send(helloFrame(maximumFrameBytes: 4_194_304, window: 65_536) + opening(1))
        // 30 rows of 1 KiB an answer: two fit into the window.
        let texts = GeneratedText.sentences(30, seed: 3)
        for _ in 0..<4 { try await peer.send(chunk(1, texts)) }
        #expect(try await peer.words() == "hello")
        var received = 0
        for _ in 0..<2 {
            var frame = try #require(try await peer.frame())
            if frame.header.type == .credit { frame = try #require(try await peer.frame()) }
            received += frame.payloadCount
        }
        #expect(received <= 65_536)
        // Nothing more comes while there is no credit, and other connections are served.
        try await fixture.beside {
            await #expect(throws: RawPeer.Impatient.self) {
                while try await peer.frame(within: 0.3)?.header.type != .message {}
            }
            try await peer.send(frame(.credit, stream: 1, argument: UInt32(received)) + frame(.end, stream: 1))
            var messages = 0
            while let frame = try await peer.frame(), frame.header.type != .end { messages += frame.header.type == .message ? 1 : 0 }
            #expect(messages == 2)
        }
    }

    @Test func `credit for the client comes back as its chunks are answered`() async throws {
        let fixture = try ServiceFixture { $0.initialWindow = 65_536 }
        let peer = try RawPeer(fixture.unixEndpoint)
        try await peer.send(helloFrame(maximumFrameBytes: 4_194_304, window: 4_194_304) + opening(1))
        #expect(try await peer.words() == "hello")
        // Ten times the window, never more than it under way.
        let text = String(repeating: "the cat watches ", count: 1_000)
        let one = chunk(1, [text])
        let payload = one.count - FrameHeader.byteCount
        var window = 65_536, sent = 0, answered = 0
        while answered < 40 {
            while sent < 40, payload <= window {
                try await peer.send(one)
                sent += 1
                window -= payload
            }
            let frame = try #require(try await peer.frame(within: 20))
            if frame.header.type == .credit { window += Int(frame.header.argument) }
            if frame.header.type == .message { answered += 1 }
            #expect(frame.header.type != .end && frame.header.type != .goAway && window <= 65_536)
        }
    }

    @Test func `what a stream may not do ends it and no other`() async throws {
        let fixture = try ServiceFixture { $0.maximumChunkTexts = 4 }
        try await fixture.beside {
            let peer = try await RawPeer.greeted(fixture.unixEndpoint)
            let window = opening(1) + chunk(1, ["a", "b", "c", "d", "e"])
            let empty = opening(3) + chunk(3, [])
            let texts = frame(
                .request, method: 2, stream: 5, message: wireBytes(Sae_V1_EmbedRequest.with { $0.lengths = [1] }), attachment: [97])
            let generation = opening(7) { $0.ifGeneration = 1 }
            try await peer.send(window + empty + texts + generation + opening(9, timeout: 1))
            #expect(Set(try await peer.words(5)) == [
                "END 1 INVALID_ARGUMENT limits.max_chunk_texts", "END 3 INVALID_ARGUMENT", "END 5 INVALID_ARGUMENT",
                "END 7 FAILED_PRECONDITION", "END 9 DEADLINE_EXCEEDED",
            ])
            try await peer.send(opening(11) + chunk(11, ["a"]) + frame(.cancel, stream: 11) + request(13))
            var heard: Set<String> = []
            while !heard.isSuperset(of: ["END 11 CANCELLED"]) || heard.count < 2 { heard.insert(try await peer.words()) }
        }
        let small = try RawPeer(fixture.unixEndpoint)
        let texts = Array(repeating: "a dog", count: 4)
        let opened = opening(1) + chunk(1, texts, flags: .last)
        try await small.send(helloFrame(maximumFrameBytes: 4_194_304, window: 65_536) + opened)
        #expect(try await small.words(3) == ["hello", "message", "END 1 OK"])
    }

    @Test func `a chunk whose answer cannot fit the client's window ends its stream`() async throws {
        let fixture = try ServiceFixture()
        let peer = try RawPeer(fixture.unixEndpoint)
        try await peer.send(helloFrame(maximumFrameBytes: 4_194_304, window: 65_536) + opening(1))
        try await peer.send(chunk(1, GeneratedText.sentences(64, seed: 1)))
        #expect(try await peer.words(2) == ["hello", "END 1 INVALID_ARGUMENT client.initial_window"])
        #expect(await eventually { fixture.metric("sae_buffer_bytes") == 0 })
    }

    @Test func `a stream keeps its generation over two reloads and is ended by the third`() async throws {
        let fixture = try ServiceFixture()
        let peer = try RawPeer(fixture.unixEndpoint)
        try await peer.send(helloFrame(maximumFrameBytes: 4_194_304, window: 1_048_576) + opening(1))
        #expect(try await peer.words() == "hello")
        let expected = fixture.vectors(["a dog"]).vectors.map(\.bitPattern)
        for (round, name) in ["second", "third", "fourth"].enumerated() {
            try await peer.send(chunk(1, ["a dog"]))
            var answer = try #require(try await peer.frame(within: 20))
            if answer.header.type == .credit { answer = try #require(try await peer.frame(within: 20)) }
            if answer.header.type == .message { #expect(bits(answer) == expected, "round \(round)") }
            _ = try fixture.writeModel(named: name)
            try fixture.service.reload()
        }
        var heard = ""
        while !heard.hasPrefix("END") && heard != "closed" { heard = try await peer.words(within: 20) }
        #expect(heard == "END 1 ABORTED")
    }

    /// The text of a chunk whose answer fills half the smallest window there is.
    private func half(_ word: String) -> [String] { [String](repeating: word, count: 30) }

    /// A daemon whose only worker is busy until `busy` sends CANCEL of stream 1; and a stream 1 of the smallest window, the first
    /// of whose two chunks waits for the worker, and the second for the window.
    private func busyStream() async throws -> (fixture: ServiceFixture, busy: RawPeer, peer: RawPeer) {
        let fixture = try ServiceFixture {
            PressureTests.slowDown(&$0)
            $0.drainGrace = .seconds(60)
        }
        let busy = try await RawPeer.greeted(fixture.unixEndpoint)
        try await busy.send(embedRequest(1, PressureTests.slowTexts(2_000, bytes: 7_500)))
        #expect(await eventually { fixture.metric("sae_queue_texts") == 0 && fixture.metric("sae_streams{transport=\"unix\"}") == 1 })
        let peer = try RawPeer(fixture.unixEndpoint)
        try await peer.send(helloFrame(maximumFrameBytes: 4_194_304, window: 65_536) + opening(1))
        try await peer.send(chunk(1, half("a dog")) + chunk(1, half("the cat")))
        #expect(try await peer.words() == "hello")
        #expect(await eventually { fixture.metric("sae_queue_texts") == 30 })
        return (fixture, busy, peer)
    }

    /// What the server says of stream 1 to its end: the bits of each answer, and the END.
    private func remainder(of peer: RawPeer) async throws -> (answers: [[UInt32]], end: String) {
        var answers: [[UInt32]] = []
        while let frame = try await peer.frame(within: 20) {
            if frame.header.type == .message { answers.append(bits(frame)) }
            if frame.header.type == .end { return (answers, words(frame)) }
        }
        return (answers, "closed")
    }

    @Test func `a retired stream answers nothing after a chunk that it leaves`() async throws {
        let (fixture, busy, peer) = try await busyStream()
        let held = fixture.metric("sae_buffer_bytes")
        for name in ["second", "third", "fourth"] {
            _ = try fixture.writeModel(named: name)
            try fixture.service.reload()
        }
        #expect(await eventually { fixture.metric("sae_buffer_bytes") < held }, "the second chunk is left")
        // As many rows as the chunk that is left: only their bits would tell.
        try await peer.send(chunk(1, half("the river")) + chunk(1, half("x"), flags: .last) + request(3))
        #expect(try await peer.words() == "message", "what was sent before it has been read")
        try await busy.send(frame(.cancel, stream: 1))
        let (answers, end) = try await remainder(of: peer)
        let isFirst = answers == [fixture.vectors(half("a dog")).vectors.map(\.bitPattern)]
        #expect(isFirst && end == "END 1 ABORTED", "\(answers.count) answers")
        #expect(await eventually { fixture.metric("sae_buffer_bytes") == 0 && fixture.metric("sae_streams{transport=\"unix\"}") == 0 })
    }

    @Test func `a drain answers the chunks that have come, no later one, and ends the stream`() async throws {
        let (fixture, busy, peer) = try await busyStream()
        fixture.service.drain()
        // First that the daemon will go, then that it goes.
        #expect(try await peer.words(2) == ["GOAWAY OK draining", "GOAWAY OK draining"])
        try await peer.send(chunk(1, half("the river")) + request(3))
        #expect(try await peer.words() == "END 3 UNAVAILABLE refused", "what was sent before it has been read")
        try await busy.send(frame(.cancel, stream: 1))
        let (answers, end) = try await remainder(of: peer)
        let areBoth = answers == [half("a dog"), half("the cat")].map { fixture.vectors($0).vectors.map(\.bitPattern) }
        #expect(areBoth && end == "END 1 UNAVAILABLE", "\(answers.count) answers")
        #expect(try await peer.words(2) == ["GOAWAY OK draining", "closed"])
    }

    @Test func `a watch of health tells the state now and at the drain`() async throws {
        let fixture = try ServiceFixture { $0.drainLameDuck = .milliseconds(200) }
        let peer = try await RawPeer.greeted(fixture.unixEndpoint)
        let unknown = wireBytes(Sae_V1_HealthCheckRequest.with { $0.service = "nobody" })
        try await peer.send(
            request(1, method: 11) + frame(.request, flags: .last, method: 11, stream: 3, message: unknown))
        var told: [UInt32: [Sae_V1_HealthCheckResponse.ServingStatus]] = [:]
        func hear() async throws -> String {
            guard let frame = try await peer.frame() else { return "closed" }
            if frame.header.type == .message {
                let status = try #require(wireMessage(Sae_V1_HealthCheckResponse.self, frame.message)).status
                told[frame.header.stream, default: []].append(status)
            }
            return words(frame)
        }
        while told.count < 2 { _ = try await hear() }
        fixture.service.drain()
        var heard: [String] = []
        while heard.last != "closed" { heard.append(try await hear()) }
        #expect(told == [1: [.serving, .notServing], 3: [.serviceUnknown]])
        #expect(heard.contains("END 1 UNAVAILABLE") && heard.contains("END 3 UNAVAILABLE"))
    }

    @Test func `a trace over the wire is the engine's own`() async throws {
        let fixture = try ServiceFixture { $0.maximumTraceBytes = 100 }
        let peer = try await RawPeer.greeted(fixture.unixEndpoint)
        let text = "The cat watches the river."
        try await peer.send(frame(.request, flags: .last, method: 5, stream: 1, attachment: Array(text.utf8)))
        let frame = try #require(try await peer.frame())
        let answer = try #require(wireMessage(Sae_V1_TraceResponse.self, frame.message))
        #expect(answer.schema == 1 && answer.generation == fixture.engine.generation)
        #expect(String(decoding: frame.attachment, as: UTF8.self) == (try fixture.engine.trace(Array(text.utf8)).json))
        let long = [UInt8](repeating: 97, count: 101)
        try await peer.send(
            TestPeers.frame(.request, flags: .last, method: 5, stream: 3, attachment: long)
                + TestPeers.frame(.request, flags: .last, method: 5, stream: 5))
        #expect(Set(try await peer.words(2)) == ["END 3 INVALID_ARGUMENT limits.max_trace_bytes", "END 5 INVALID_ARGUMENT"])
        #expect(await eventually { fixture.metric("sae_buffer_bytes") == 0 && fixture.metric("sae_queue_texts") == 0 })
    }
}
