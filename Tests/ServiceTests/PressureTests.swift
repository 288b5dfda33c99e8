import Daemon
import Foundation
import Messages
import SAEClient
import SAEEngine
import SwiftProtobuf
import TestPeers
import TestSupport
import Testing
import Wire

/// Clients that take, or make the daemon hold, more than they should.
@Suite(.serialized) struct PressureTests {
    private static let closed = "sae_connections_closed_total"

    /// Makes the daemon's only worker take requests whole, and gives it work for a second or so.
    static func slowDown(_ configuration: inout Configuration) {
        configuration.workerCount = 1
        configuration.batchMaximumTexts = 65_536
        configuration.batchMaximumPieces = 16_777_216
        configuration.queueMaximumPieces = 16_777_216
        configuration.maximumFrameBytes = 16_777_216
    }
    static let slowWork = slowTexts(1_000, bytes: 5_000)

    /// Texts that take the tokenizer a while: hardly a word comes twice, and each has an é and is left to the library.
    static func slowTexts(_ count: Int, bytes: Int) -> [[UInt8]] {
        var random = SeededRandom(seed: 5)
        return (0..<count).map { _ in
            (0..<bytes).map { place in
                switch place % 7 {
                case 0: 0xc3
                case 1: 0xa9
                case 6: 32
                default: UInt8.random(in: 97..<123, using: &random)
                }
            }
        }
    }

    @Test(arguments: [true, false])
    func `a client that asks and does not read is read no further and then reset`(overTCP: Bool) async throws {
        let fixture = try ServiceFixture {
            $0.maximumConnectionOutputBytes = 65_536
            $0.writeStall = .milliseconds(400)
        }
        try await fixture.beside {
            let peer = try await RawPeer.greeted(
                overTCP ? fixture.tcpEndpoint : fixture.unixEndpoint, receiveBytes: 4_096)
            // 28 bytes a call, and over 1 KB of answer.
            var stream: UInt32 = 1
            var isTaken = true
            for _ in 0..<200 where isTaken {
                let calls = (0..<4_000).flatMap { request(stream + 2 * $0) }
                stream += 8_000
                isTaken = try await peer.send(calls, within: 0.3) == calls.count
                // An answer that is due, and the refusals that one read can bring about.
                #expect(fixture.metric("sae_buffer_bytes") < 65_536 + 131_072 * 5)
            }
            #expect(!isTaken, "22 MB of calls were read, of a peer that takes no answer")
            #expect(await eventually { fixture.metric("\(Self.closed){reason=\"slow_reader\"}") == 1 })
            while peer.end == nil { _ = try await peer.words() }
        }
    }

    @Test func `answers that nobody takes are not computed without a bound`() async throws {
        let fixture = try ServiceFixture {
            $0.maximumConnectionOutputBytes = 1_000_000
            $0.writeStall = .milliseconds(400)
        }
        try await fixture.beside {
            let peer = try await RawPeer.greeted(fixture.unixEndpoint, receiveBytes: 4_096)
            let texts = [String](repeating: "x", count: 400)  // an answer of 410 KB
            for index in 0..<60 { try await peer.send(embedRequest(UInt32(2 * index + 1), texts)) }
            #expect(fixture.metric("sae_buffer_bytes") < 2_000_000)
            #expect(await eventually { fixture.metric("\(Self.closed){reason=\"slow_reader\"}") == 1 })
            #expect(fixture.metric("sae_refusals_total{limit=\"limits.max_connection_output_bytes\"}") > 40)
            while peer.end == nil { _ = try await peer.words() }
        }
    }

    @Test func `a slow reader gets everything in the end`() async throws {
        let fixture = try ServiceFixture {
            $0.maximumConnectionOutputBytes = 300_000
            $0.writeStall = .seconds(30)
        }
        let peer = try await RawPeer.greeted(fixture.unixEndpoint, receiveBytes: 4_096)
        // What is held back is read on as soon as there is room again.
        var calls = (0..<20_000).flatMap { request(1 + 2 * $0) }[...]
        calls = calls.dropFirst(try await peer.send(Array(calls), within: 0.2))
        #expect(!calls.isEmpty && fixture.metric("sae_buffer_bytes") >= 300_000)
        var streams: Set<UInt32> = [], refusals: Set<String> = []
        while streams.count < 20_000 {
            calls = calls.dropFirst(try await peer.send(Array(calls.prefix(28_000)), within: 0))
            let frame = try #require(try await peer.frame())
            if frame.header.type != .message { refusals.insert(words(frame).components(separatedBy: " refused ").last ?? "") }
            streams.insert(frame.header.stream)
        }
        #expect(refusals.isSubset(of: ["limits.max_connection_output_bytes", "limits.max_streams_per_connection"]))
        #expect(calls.isEmpty && fixture.metric("sae_connections{transport=\"unix\"}") == 1)
    }

    @Test func `with the buffers full the largest stuck connection goes and the others live on`() async throws {
        let fixture = try ServiceFixture {
            $0.maximumBufferBytes = 1_048_576
            $0.frameTimeout = .seconds(60)
        }
        var peers: [RawPeer] = []
        for size in [500_000, 900_000, 200_000, 400_000] {
            let peer = try await RawPeer.greeted(fixture.unixEndpoint)
            let whole = embedRequest(1, [[UInt8](repeating: 97, count: 1_000_000)])
            try await peer.send(Array(whole[..<size]), within: 0.3)
            peers.append(peer)
        }
        // One more read each, at most, beyond the limit.
        #expect(fixture.metric("sae_buffer_bytes") <= 1_048_576 + 4 * 131_072)
        #expect(await eventually { fixture.metric("\(Self.closed){reason=\"evicted\"}") >= 1 })
        #expect(await eventually { fixture.metric("sae_buffer_bytes") < 1_048_576 })
        let client = try await Client(connectingTo: fixture.unixEndpoint)
        #expect(
            await eventually {
                (try? await client.embed(["a dog"]))?.vectors.map(\.bitPattern)
                    == fixture.vectors(["a dog"]).vectors.map(\.bitPattern)
            })
        var ends: [String] = []
        for peer in peers {
            do { ends.append(try await peer.words(within: 0.05)) } catch is RawPeer.Impatient { ends.append("lives") }
        }
        #expect(ends[0] != "lives" || ends[1] != "lives", "one of the two largest: \(ends)")
        #expect(ends.contains("lives"), "\(ends)")
    }

    @Test func `CANCEL stops a running request at its next text`() async throws {
        let fixture = try ServiceFixture(Self.slowDown)
        let peer = try await RawPeer.greeted(fixture.unixEndpoint)
        try await peer.send(embedRequest(1, Self.slowWork))
        #expect(
            await eventually {
                fixture.metric("sae_queue_texts") == 0 && fixture.metric("sae_streams{transport=\"unix\"}") == 1
            }, "the only worker is at the only slice")
        try await peer.send(frame(.cancel, stream: 1))
        #expect(try await peer.words() == "END 1 CANCELLED")
        #expect(await eventually { fixture.metric("sae_buffer_bytes") == 0 })
        #expect(fixture.metric("sae_text_bytes_total") < 5_000_000)
        #expect(fixture.metric("sae_texts_dropped_total{reason=\"cancel\"}") == 1_000)
        try await peer.send(embedRequest(3, ["x"]))
        #expect(try await peer.words() == "message")
    }

    @Test func `a deadline ends a request that waits and one that is computed, and stops the work`() async throws {
        let fixture = try ServiceFixture(Self.slowDown)
        let busy = try await RawPeer.greeted(fixture.unixEndpoint)
        let waiting = try await RawPeer.greeted(fixture.unixEndpoint)
        // While it is computed.
        try await busy.send(embedRequest(1, Self.slowWork, timeout: 100_000))
        #expect(try await busy.words() == "END 1 DEADLINE_EXCEEDED")
        #expect(await eventually { fixture.metric("sae_buffer_bytes") == 0 })
        #expect(fixture.metric("sae_text_bytes_total") < 5_000_000)
        #expect(fixture.metric("sae_texts_dropped_total{reason=\"deadline\"}") == 1_000)
        // While it waits for the only worker.
        try await busy.send(embedRequest(3, Self.slowWork))
        #expect(await eventually { fixture.metric("sae_streams{transport=\"unix\"}") == 1 })
        try await waiting.send(embedRequest(1, ["a dog"], timeout: 50_000))
        let said = try await waiting.words()
        #expect(said == "END 1 DEADLINE_EXCEEDED" || said == "END 1 RESOURCE_EXHAUSTED refused queue.max_wait_ms")
        #expect(try await busy.words(within: 30) == "message")
    }

    @Test(arguments: [true, false])
    func `a client that goes in the middle of a request frees what it held`(overTCP: Bool) async throws {
        let fixture = try ServiceFixture(Self.slowDown)
        do {
            let peer = try await RawPeer.greeted(overTCP ? fixture.tcpEndpoint : fixture.unixEndpoint)
            try await peer.send(embedRequest(1, Self.slowWork))
            let series = "sae_streams{transport=\"\(overTCP ? "tcp" : "unix")\"}"
            #expect(await eventually { fixture.metric("sae_queue_texts") == 0 && fixture.metric(series) == 1 })
            // A Unix socket tells of a close as TCP does of a reset.
            if overTCP { peer.reset() }
        }
        #expect(await eventually { fixture.metric("sae_buffer_bytes") == 0 })
        #expect(fixture.metric("sae_texts_dropped_total{reason=\"disconnect\"}") == 1_000)
        #expect(fixture.metric("sae_text_bytes_total") < 5_000_000)
    }

    @Test func `an answer that outgrows its client's frames is not sent`() async throws {
        let fixture = try ServiceFixture()
        let peer = try await RawPeer.greeted(fixture.unixEndpoint, maximumFrameBytes: 65_536)
        // One character of three bytes that normalises to eighteen.
        let text = Array(String(repeating: "\u{fdfa}", count: 300).utf8)
        let message = Sae_V1_TokenizeRequest.with {
            $0.lengths = [UInt32](repeating: UInt32(text.count), count: 20)
            $0.wantText = true
            $0.wantSpans = true
        }
        let attachment = Array(repeatElement(text, count: 20).joined())
        try await peer.send(
            TestPeers.frame(.request, flags: .last, method: 4, stream: 1, message: wireBytes(message), attachment: attachment))
        #expect(try await peer.words() == "END 1 INVALID_ARGUMENT client.max_frame_bytes")
        #expect(await eventually { fixture.metric("sae_buffer_bytes") == 0 })
        try await peer.send(embedRequest(3, [String](repeating: "x", count: 100)))
        #expect(try await peer.words() == "END 3 INVALID_ARGUMENT client.max_frame_bytes")
    }

    @Test func `connections over the limit are told so`() async throws {
        let fixture = try ServiceFixture { $0.maximumConnections = 2 }
        try await fixture.beside {
            let second = try await RawPeer.greeted(fixture.unixEndpoint)
            let third = try RawPeer(fixture.tcpEndpoint)
            let frame = try #require(try await third.frame())
            #expect(words(frame) == "GOAWAY RESOURCE_EXHAUSTED max_connections")
            #expect(wireMessage(Sae_V1_GoAway.self, frame.message)?.retryAfterMs == 1_000)
            #expect(try await third.words() == "closed")
            try await second.send(request(1))
            #expect(try await second.words() == "message")
        }
    }

    @Test func `of too many in their handshake the oldest goes`() async throws {
        let fixture = try ServiceFixture { $0.maximumUnauthenticated = 1 }
        try await fixture.beside {
            let silent = try RawPeer(fixture.unixEndpoint)
            // Each I/O queue has one of them.
            let others = try (1..<fixture.service.ioQueueCount).map { _ in try RawPeer(fixture.unixEndpoint) }
            let next = try RawPeer(fixture.unixEndpoint)
            #expect(try await silent.words() == "GOAWAY DEADLINE_EXCEEDED handshake_timeout")
            #expect(try await silent.words() == "closed")
            withExtendedLifetime(others) {}
            try await next.send(helloFrame())
            #expect(try await next.words() == "hello")
        }
    }
}
