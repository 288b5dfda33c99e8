import Daemon
import SAEEngine
import TestPeers
import TestSupport
import Testing
import Transport

/// What the HTTP port does to those who do not keep its rules.
@Suite(.serialized) struct HTTPLimitTests {
    private func peer(_ fixture: ServiceFixture, receiveBytes: Int32? = nil) throws -> HTTPPeer {
        try HTTPPeer(try #require(fixture.service.operationsEndpoint), receiveBytes: receiveBytes)
    }

    private static let start = "POST /embed HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    private static let second = "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n"

    @Test(arguments: [
        start + "content-length: 14\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" + second,
        start + "transfer-encoding: chunked\r\ncontent-length: 14\r\n\r\n0\r\n\r\n" + second,
        start + "content-length: 14\r\ncontent-length: 15\r\n\r\n{\"inputs\":\"x\"}" + second,
        start + "content-length: 14\r\ncontent-length: 14\r\n\r\n{\"inputs\":\"x\"}" + second,
        start + "content-length: 14, 14\r\n\r\n{\"inputs\":\"x\"}" + second,
        start + "content-length: +14\r\n\r\n{\"inputs\":\"x\"}" + second,
        start + "content-length: -1\r\n\r\n" + second, start + "content-length: 0x0e\r\n\r\n{\"inputs\":\"x\"}" + second,
        start + "content-length : 14\r\n\r\n{\"inputs\":\"x\"}" + second,
        start + "x: a\r\n b\r\ncontent-length: 14\r\n\r\n{\"inputs\":\"x\"}" + second,
        start + "x: a\ncontent-length: 14\r\n\r\n{\"inputs\":\"x\"}" + second,
        start + "x: a\r\ncontent-length: 14\n\n{\"inputs\":\"x\"}" + second,
        start + "x: \u{0}\r\n\r\n" + second, start + ": a\r\n\r\n" + second,
        "GET /livez HTTP/2.5\r\nhost: localhost\r\n\r\n", "SAE1\u{1}\u{0}\u{0}\u{0}", "\u{16}\u{3}\u{1}\u{2}\u{0}",
    ])
    func `what could smuggle a request is 400, and the connection ends`(_ bytes: String) async throws {
        let fixture = try ServiceFixture()
        let peer = try peer(fixture)
        try await peer.send(bytes)
        let answer = try await peer.answer()
        #expect(answer.status == 400 && answer.fields["connection"] == "close")
        #expect(try await peer.remainder() == "", "no second answer")
        #expect(fixture.metric("sae_protocol_errors_total{reason=\"bad_request\"}") == 1)
    }

    @Test(arguments: [
        (start + "transfer-encoding: chunked\r\n\r\n0\r\n\r\n", 411), (start + "\r\n", 411),
        ("POST /embed HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{}", 415),
        ("POST /embed HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\n{}", 415),
        ("POST /embed HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json; charset=latin1\r\ncontent-length: 2\r\n\r\n{}", 415),
        (start + "content-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}", 415),
        // Read, and found to lack its texts.
        (
            "POST /embed HTTP/1.1\r\nhost: localhost\r\ncontent-encoding: identity\r\n"
                + "content-type: application/json; charset=\"UTF-8\"\r\ncontent-length: 2\r\n\r\n{}", 422
        ),
        (start + "content-length: 65537\r\n\r\n", 413), (start + "content-length: 99999999999\r\n\r\n", 413),
        ("GET /embed HTTP/1.1\r\nhost: localhost\r\n\r\n", 405), ("PUT /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n", 405),
        ("POST /v1/other HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{}", 404),
    ])
    func `a head that asks for too much is answered before its body`(head: String, status: Int) async throws {
        let fixture = try ServiceFixture { $0.maximumHTTPBodyBytes = 65_536 }
        let peer = try peer(fixture)
        try await peer.send(head)
        let answer = try await peer.answer()
        #expect(answer.status == status)
        #expect((answer.fields["allow"] != nil) == (status == 405))
    }

    @Test func `the answer to a body that is too large survives the body`() async throws {
        let fixture = try ServiceFixture { $0.maximumHTTPBodyBytes = 65_536 }
        let peer = try peer(fixture)
        try await peer.send(Self.start + "content-length: 3000000\r\n\r\n" + String(repeating: " ", count: 3_000_000))
        #expect(try await peer.answer().status == 413)
        #expect(await eventually { fixture.metric("sae_buffer_bytes") == 0 })
    }

    @Test func `a charset beside the content type is no reason to refuse`() async throws {
        let fixture = try ServiceFixture()
        let peer = try peer(fixture)
        try await peer.send(
            "POST /embed HTTP/1.1\r\nhost: localhost\r\nContent-Type: Application/JSON; charset=utf-8\r\n"
                + "content-length: 14\r\n\r\n{\"inputs\":\"x\"}")
        #expect(try await peer.answer().status == 200)
    }

    @Test func `a client that waits to be told to go on is told`() async throws {
        let fixture = try ServiceFixture()
        let peer = try peer(fixture)
        try await peer.send(Self.start + "content-length: 14\r\nexpect: 100-continue\r\n\r\n")
        #expect(try await peer.answer().status == 100)
        try await peer.send("{\"inputs\":\"x\"}")
        #expect(try await peer.answer().status == 200)
    }

    @Test func `requests behind one another are answered in order`() async throws {
        let fixture = try ServiceFixture()
        let peer = try peer(fixture)
        let bodies = (1...20).map { "{\"inputs\":\"\(String(repeating: "x", count: $0))\"}" }
        let ask = { (body: String) in HTTPPeer.request("POST", "/embed", body) }
        try await peer.send(bodies.map(ask).joined() + HTTPPeer.request("HEAD", "/info") + HTTPPeer.request("GET", "/livez"))
        for length in 1...20 {
            let vector = fixture.vectors([String(repeating: "x", count: length)]).vectors
            #expect(try await peer.answer().text == "[[\(vector.map(\.description).joined(separator: ","))]]")
        }
        #expect(try await peer.answer(isHead: true).fields["content-length"].flatMap { Int($0) } ?? 0 > 100)
        #expect(try await peer.answer().text == "ok\n")
    }

    @Test func `a body that comes a byte at a time is embedded, and one that stops is given up`() async throws {
        let fixture = try ServiceFixture { $0.frameTimeout = .milliseconds(700) }
        let (slow, stuck) = (try peer(fixture), try peer(fixture))
        try await stuck.send(Self.start + "content-length: 60000\r\n\r\n{\"inputs\":\"")
        for byte in HTTPPeer.request("POST", "/embed", "{\"inputs\":\"a dog\"}").utf8 { try await slow.send([byte]) }
        #expect(try await slow.answer().status == 200)
        #expect(try await stuck.answer().status == 408)
        try await stuck.remainder()
        #expect(await eventually { fixture.metric("sae_buffer_bytes") == 0 })
    }

    @Test func `bodies are counted as they come, and refused when the buffers are full`() async throws {
        let fixture = try ServiceFixture { $0.maximumBufferBytes = 1_048_576 }
        let peers = try (0..<4).map { _ in try peer(fixture) }
        let part = String(repeating: " ", count: 300_000)
        for peer in peers { try await peer.send(Self.start + "content-length: 400000\r\n\r\n" + part) }
        // Three fit, one does not; nobody can tell which.
        #expect(await eventually { fixture.metric("sae_refusals_total{limit=\"limits.max_buffer_bytes\"}") == 1 })
        #expect(fixture.metric("sae_buffer_bytes") <= 1_048_576)
        for peer in peers { peer.finishSending() }
        #expect(await eventually { fixture.metric("sae_buffer_bytes") == 0 })
    }

    @Test func `a client that does not read its answer is closed, and others are served`() async throws {
        let fixture = try ServiceFixture { $0.writeStall = .milliseconds(400) }
        try await fixture.beside {
            let peer = try peer(fixture, receiveBytes: 4_096)
            let texts = [String](repeating: "\"x\"", count: 2_000).joined(separator: ",")
            try await peer.send(HTTPPeer.request("POST", "/embed", "{\"inputs\":[\(texts)]}"))
            #expect(await eventually(20) { fixture.metric("sae_connections_closed_total{reason=\"slow_reader\"}") == 1 })
            #expect(fixture.log.contains { $0.contains("slow_reader") })
        }
    }

    @Test func `an answer that could not be held is refused for good`() async throws {
        let fixture = try ServiceFixture { $0.maximumConnectionOutputBytes = 65_536 }
        let peer = try peer(fixture)
        let texts = [String](repeating: "\"x\"", count: 100).joined(separator: ",")
        let answer = try await peer.ask("POST", "/v1/embeddings", "{\"input\":[\(texts)]}")
        #expect(answer.status == 400 && answer.text.contains("limits.max_connection_output_bytes"))
        let pieces = try await peer.ask("POST", "/tokenize", "{\"inputs\":\"\(String(repeating: "x ", count: 3_000))\"}")
        #expect(pieces.status == 422 && pieces.text.contains("limits.max_connection_output_bytes"))
        #expect(try await peer.ask("POST", "/v1/embeddings", #"{"input":"x"}"#).status == 200)
        #expect(await eventually { fixture.metric("sae_buffer_bytes") == 0 })
    }
}
