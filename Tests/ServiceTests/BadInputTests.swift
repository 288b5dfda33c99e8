import Daemon
import Messages
import SAEClient
import SAEEngine
import SwiftProtobuf
import TestPeers
import TestSupport
import Testing
import Wire

/// What a client does wrong, and what it gets.
struct HostileCase: Sendable, CustomTestStringConvertible {
    var testDescription: String
    /// Says HELLO first and waits for the answer.
    var greets = true
    var checksums = false
    /// Sends nothing more after the bytes.
    var halfCloses = false
    var bytes: [UInt8]
    var expected: [String]

    /// The connection outlives it.
    var survives: Bool { expected.last != "closed" }

    init(_ name: String, greets: Bool = true, checksums: Bool = false, halfCloses: Bool = false, _ bytes: [UInt8], _ expected: String...) {
        self.init(name, greets: greets, checksums: checksums, halfCloses: halfCloses, bytes, expected)
    }

    init(
        _ name: String, greets: Bool = true, checksums: Bool = false, halfCloses: Bool = false, _ bytes: [UInt8],
        _ expected: [String]
    ) {
        testDescription = name
        self.greets = greets
        self.checksums = checksums
        self.halfCloses = halfCloses
        self.bytes = bytes
        self.expected = expected
    }
}

/// The table "what ends a connection, and what does not" of proto-spec, over real sockets.
@Suite(.serialized) struct BadInputTests {
    private static let limit = 65_536
    private static let dog = embedRequest(1, ["a dog"])
    private static let ping = frame(.ping, attachment: [UInt8](repeating: 7, count: 8))

    /// An Embed whose protobuf is `message`.
    private static func embed(_ stream: UInt32, message: [UInt8], attachment: [UInt8] = []) -> [UInt8] {
        frame(.request, flags: .last, method: 1, stream: stream, message: message, attachment: attachment)
    }

    /// `bytes` with the 32 bits at `offset` replaced.
    private static func patched(_ bytes: [UInt8], _ offset: Int, _ value: UInt32) -> [UInt8] {
        var bytes = bytes
        withUnsafeBytes(of: value.littleEndian) { bytes.replaceSubrange(offset..<offset + 4, with: $0) }
        return bytes
    }

    static let cases: [HostileCase] = [
        // What ends the connection.
        HostileCase("wrong magic", patched(dog, 0, 0x3245_4153), "GOAWAY INTERNAL bad_magic", "closed"),
        HostileCase("HTTP on the frame port", greets: false, Array("GET / HTTP/1.1\r\n\r\n".utf8), "GOAWAY INTERNAL bad_magic", "closed"),
        HostileCase("TLS on the plain port", greets: false, [22, 3, 1, 2, 0, 1, 0, 1, 0xfc], "GOAWAY INTERNAL bad_magic", "closed"),
        HostileCase("wrong CRC", checksums: true, patched(embedRequest(1, [[1]], checksum: true), 24, 1), "GOAWAY INTERNAL bad_crc", "closed"),
        HostileCase("CRC agreed and absent", checksums: true, dog, "GOAWAY INTERNAL bad_crc", "closed"),
        HostileCase("wrong CRC, not agreed", patched(embedRequest(1, [[1]], checksum: true), 24, 1), "GOAWAY INTERNAL bad_crc", "closed"),
        HostileCase("five times the frame limit", patched(dog, 12, UInt32(limit * 5)), "GOAWAY INVALID_ARGUMENT frame_too_large", "closed"),
        HostileCase("P = 2^32 - 1", patched(dog, 12, .max), "GOAWAY INVALID_ARGUMENT frame_too_large", "closed"),
        HostileCase("M = 2^32 - 1", patched(dog, 16, .max), "GOAWAY INTERNAL bad_frame", "closed"),
        HostileCase("message longer than its payload", patched(dog, 16, 9), "GOAWAY INTERNAL bad_frame", "closed"),
        HostileCase("even stream id", embedRequest(2, ["x"]), "GOAWAY INTERNAL bad_frame", "closed"),
        HostileCase("stream 0", embedRequest(0, ["x"]), "GOAWAY INTERNAL bad_frame", "closed"),
        HostileCase("stream id over 2^31 - 1", embedRequest(0x8000_0001, ["x"]), "GOAWAY INTERNAL bad_frame", "closed"),
        HostileCase(
            "stream id smaller than one before", request(9, method: 99) + embedRequest(7, ["x"]), "END 9 UNIMPLEMENTED",
            "GOAWAY INTERNAL bad_frame", "closed"),
        HostileCase("stream id used twice", request(9, method: 99) + request(9), "END 9 UNIMPLEMENTED", "GOAWAY INTERNAL bad_frame", "closed"),
        HostileCase("CANCEL of an idle stream", frame(.cancel, stream: 5), "GOAWAY INTERNAL bad_frame", "closed"),
        HostileCase("unknown type", patched(ping, 4, 9), "GOAWAY INTERNAL bad_frame", "closed"),
        HostileCase("reserved flag", patched(ping, 4, 0x1007), "GOAWAY INTERNAL bad_frame", "closed"),
        HostileCase("payload on CANCEL", frame(.cancel, stream: 1, attachment: [1]), "GOAWAY INTERNAL bad_frame", "closed"),
        HostileCase("HELLO missing", greets: false, dog, "GOAWAY INTERNAL bad_frame", "closed"),
        HostileCase("HELLO late", greets: false, ping + helloFrame(), "GOAWAY INTERNAL bad_frame", "closed"),
        HostileCase("HELLO twice", helloFrame(), "GOAWAY INTERNAL bad_frame", "closed"),
        HostileCase("HELLO twice at once", greets: false, helloFrame() + helloFrame(), "hello", "GOAWAY INTERNAL bad_frame", "closed"),
        HostileCase(
            "HELLO over 4,096 bytes", greets: false, frame(.hello, message: [UInt8](repeating: 0, count: 4_097)),
            "GOAWAY INVALID_ARGUMENT frame_too_large", "closed"),
        HostileCase("HELLO of a later version", greets: false, helloFrame(versions: 2...9), "GOAWAY UNIMPLEMENTED unsupported_version", "closed"),
        HostileCase("HELLO that does not parse", greets: false, frame(.hello, message: [0xff]), "GOAWAY INTERNAL bad_frame", "closed"),
        HostileCase("a large REQUEST announced before HELLO", greets: false, Array(patched(dog, 12, 60_000)[..<28]), "GOAWAY INTERNAL bad_frame", "closed"),
        HostileCase("CREDIT over 2^31 - 1", request(1, method: 99) + frame(.credit, stream: 1, argument: 0x8000_0000), "END 1 UNIMPLEMENTED", "GOAWAY INTERNAL flow_control", "closed"),
        HostileCase(
            "flood of PING", (0..<60).flatMap { _ in ping },
            Array(repeating: "PONG", count: 50) + ["GOAWAY RESOURCE_EXHAUSTED control_flood", "closed"]),
        HostileCase(
            "flood of CANCEL for an ended stream", request(1, method: 99) + (0..<60).flatMap { _ in frame(.cancel, stream: 1) }, "END 1 UNIMPLEMENTED",
            "GOAWAY RESOURCE_EXHAUSTED control_flood", "closed"),

        // What ends the stream only.
        HostileCase(
            "payload over the limit", embedRequest(1, [[UInt8](repeating: 97, count: limit + 1)]),
            "END 1 INVALID_ARGUMENT limits.max_frame_bytes"),
        HostileCase(
            "payload of four times the limit", frame(.request, flags: .last, method: 1, stream: 1, attachment: [UInt8](repeating: 97, count: 4 * limit)),
            "END 1 INVALID_ARGUMENT limits.max_frame_bytes"),
        HostileCase("unknown method", request(1, method: 99), "END 1 UNIMPLEMENTED"),
        HostileCase("unary REQUEST without LAST", request(1, method: 1, flags: []), "END 1 UNIMPLEMENTED"),
        HostileCase("protobuf that does not parse", embed(1, message: [0x0a, 0xff]), "END 1 INVALID_ARGUMENT"),
        HostileCase("protobuf cut short", embed(1, message: [0x0a, 5, 1]), "END 1 INVALID_ARGUMENT"),
        HostileCase("no text", embed(1, message: []), "END 1 INVALID_ARGUMENT"),
        HostileCase("2,049 texts", embedRequest(1, [[UInt8]](repeating: [97], count: 2_049)), "END 1 INVALID_ARGUMENT limits.max_texts_per_request"),
        HostileCase("lengths beyond the attachment", embed(1, message: [10, 1, 9], attachment: [97]), "END 1 INVALID_ARGUMENT"),
        HostileCase("lengths short of the attachment", embed(1, message: [10, 1, 1], attachment: [97, 98]), "END 1 INVALID_ARGUMENT"),
        HostileCase(
            "lengths that overflow 32 bits", embed(1, message: [10, 10, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x82, 0x80, 0x80, 0x80, 0], attachment: [97]),
            "END 1 INVALID_ARGUMENT"),
        HostileCase("a length over 32 bits, cut as protobuf does", embed(1, message: [10, 6, 0x81, 0x80, 0x80, 0x80, 0x80, 1], attachment: [97]), "message"),
        HostileCase("257 dimensions", embedRequest(1, [[97]]) { $0.dimensions = 257 }, "END 1 INVALID_ARGUMENT"),
        HostileCase("2^32 - 1 dimensions", embedRequest(1, [[97]]) { $0.dimensions = .max }, "END 1 INVALID_ARGUMENT"),
        HostileCase(
            "255 dimensions as bits",
            embedRequest(1, [[97]]) {
                $0.dimensions = 255
                $0.encoding = .binary
            }, "END 1 INVALID_ARGUMENT"),
        HostileCase("encoding 99", embed(1, message: [10, 1, 1, 16, 99], attachment: [97]), "END 1 INVALID_ARGUMENT"),
        HostileCase("another generation", embedRequest(1, [[97]]) { $0.ifGeneration = 1 }, "END 1 FAILED_PRECONDITION"),
        HostileCase("a deadline that is over", embedRequest(1, ["x"], timeout: 1), "END 1 DEADLINE_EXCEEDED"),
        HostileCase("the longest deadline", embedRequest(1, ["x"], timeout: .max), "message"),
        HostileCase("an unknown service", frame(.request, flags: .last, method: 10, stream: 1, message: [10, 1, 120]), "END 1 NOT_FOUND"),

        // Ends of input.
        HostileCase("half-close after REQUEST", halfCloses: true, dog, "message", "closed"),
        HostileCase("half-close between frames", halfCloses: true, [], "closed"),
        HostileCase("half-close inside a header", halfCloses: true, Array(dog[..<9]), "closed"),
        HostileCase("half-close inside a payload", halfCloses: true, Array(dog.dropLast()), "closed"),
        HostileCase("half-close inside a dropped payload", halfCloses: true, Array(patched(dog, 12, UInt32(limit * 2))), "END 1 INVALID_ARGUMENT limits.max_frame_bytes", "closed"),
    ]

    @Test(arguments: cases, [true, false])
    func `bad input gets what the protocol says and harms nobody else`(_ bad: HostileCase, overTCP: Bool) async throws {
        let fixture = try ServiceFixture {
            $0.maximumFrameBytes = Self.limit
            $0.maximumControlFramesPerSecond = 10
        }
        try await fixture.beside {
            let endpoint = overTCP ? fixture.tcpEndpoint : fixture.unixEndpoint
            let peer =
                bad.greets ? try await RawPeer.greeted(endpoint, checksums: bad.checksums) : try RawPeer(endpoint)
            try await peer.send(bad.bytes)
            if bad.halfCloses { peer.finishSending() }
            #expect(try await peer.words(bad.expected.count) == bad.expected)
            if bad.survives {
                try await peer.send(embedRequest(99, ["x"]))
                let answer = try #require(try await peer.frame())
                #expect(answer.header.stream == 99 && answer.header.type == .message)
                #expect(
                    Array(answer.attachment) == fixture.vectors(["x"]).vectors.withUnsafeBytes { Array($0) })
            }
        }
        #expect(
            await eventually {
                ["tcp", "unix"].allSatisfy { fixture.metric("sae_connections{transport=\"\($0)\"}") == 0 }
            })
    }

    @Test func `a bad text is a row error and the others are embedded`() async throws {
        let fixture = try ServiceFixture { $0.maximumPiecesPerText = 50 }
        let peer = try await RawPeer.greeted(fixture.unixEndpoint)
        let texts: [[UInt8]] = [
            [], [UInt8](repeating: 97, count: 65_537), Array(repeating: Array("a dog ".utf8), count: 60).flatMap { $0 }, [32, 32],
            [0xff, 0xfe], [0], Array("x".utf8),
        ]
        try await peer.send(embedRequest(1, texts))
        let frame = try #require(try await peer.frame())
        let answer = try #require(wireMessage(Sae_V1_EmbedResponse.self, frame.message))
        let batch = fixture.vectors(texts, maximumPieces: 50)
        #expect(Array(frame.attachment) == batch.vectors.withUnsafeBytes { Array($0) })
        let wrong = batch.outcomes.indices.filter { batch.outcomes[$0].status != .ok }
        #expect(answer.errors.map { Int($0.index) } == wrong && Set(wrong).isSuperset(of: [0, 1, 2, 3]))
        #expect(answer.errors.prefix(4).map(\.limit) == ["", "limits.max_text_bytes", "limits.max_pieces_per_text", ""])
        #expect(answer.errors.allSatisfy { $0.code == StatusCode.invalidArgument.rawValue })
        for row in wrong { #expect(batch.vector(row).allSatisfy { $0.bitPattern == 0 }) }
    }

    @Test func `ten megabytes of one word are bounded by the frame, not by the tokenizer`() async throws {
        let fixture = try ServiceFixture()
        try await fixture.beside {
            let peer = try await RawPeer.greeted(fixture.unixEndpoint)
            try await peer.send(embedRequest(1, [[UInt8](repeating: 97, count: 10_000_000)]))
            #expect(try await peer.words() == "END 1 INVALID_ARGUMENT limits.max_frame_bytes")
            try await peer.send(embedRequest(3, [[UInt8](repeating: 97, count: 4_000_000)]))
            let answer = try #require(try await peer.frame())
            #expect(words(answer) == "message")
            let message = try #require(wireMessage(Sae_V1_EmbedResponse.self, answer.message))
            #expect(message.errors.map(\.limit) == ["limits.max_text_bytes"])
        }
    }

    @Test func `every truncation of a request is dropped without an answer`() async throws {
        let fixture = try ServiceFixture()
        let whole = embedRequest(1, ["a dog"])
        try await fixture.beside {
            for length in 1..<whole.count {
                let peer = try await RawPeer.greeted(fixture.unixEndpoint)
                try await peer.send(Array(whole[..<length]))
                peer.finishSending()
                #expect(try await peer.words() == "closed", "\(length) bytes")
            }
        }
        #expect(fixture.metrics.requestCount(.embed, code: 3) == 0)
    }

    @Test func `one flipped bit never gives a wrong vector or a crash`() async throws {
        let fixture = try ServiceFixture { $0.maximumFrameBytes = Self.limit }
        let whole = embedRequest(1, [Array("a dog".utf8)], checksum: true)
        try await fixture.beside {
            for bit in 0..<whole.count * 8 {
                let peer = try await RawPeer.greeted(fixture.unixEndpoint, checksums: true)
                var bytes = whole
                bytes[bit / 8] ^= 1 << UInt8(bit % 8)
                try await peer.send(bytes)
                peer.finishSending()
                let said = try await peer.words()
                // A payload that became longer is waited for, or refused by its size.
                let isLength = (12..<16).contains(bit / 8)
                let right = bit < 32 ? ["GOAWAY INTERNAL bad_magic"] : isLength
                    ? ["closed", "GOAWAY INTERNAL bad_crc", "GOAWAY INVALID_ARGUMENT frame_too_large", "END 1 INVALID_ARGUMENT limits.max_frame_bytes"]
                    : ["GOAWAY INTERNAL bad_crc"]
                #expect(right.contains(said), "bit \(bit): \(said)")
            }
        }
    }
}
