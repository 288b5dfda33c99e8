import Bytes
import Daemon
import Foundation
import Glibc
import SAEClient
import SAEEngine
import TestPeers
import TestSupport
import Testing
import Transport
import Wire

struct OperationTests {
    /// Sends `request` to the HTTP port and reads until the daemon closes.
    private func exchange(_ request: String, with fixture: ServiceFixture) async throws -> String {
        let endpoint = try #require(fixture.service.operationsEndpoint)
        let socket = try Socket.connecting(to: endpoint)
        let bytes = Array(request.utf8)
        #expect(send(socket.number, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count)
        var answer: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        let last = deadline(in: 30)
        while true {
            let count = recv(socket.number, &buffer, buffer.count, 0)
            if count < 0 && errno == EAGAIN {
                try #require(ContinuousClock.now < last, "the daemon does not close")
                try await Task.sleep(for: .milliseconds(2))
                continue
            }
            guard count > 0 else { break }
            answer += buffer[..<count]
        }
        return String(decoding: answer, as: UTF8.self)
    }

    @Test(arguments: [
        ("GET /livez", "200"), ("GET /readyz", "200"), ("GET /health", "200"), ("GET /metrics", "200"),
        ("GET /elsewhere", "404"), ("POST /livez", "405"),
    ])
    func `a route answers as documented`(route: String, status: String) async throws {
        let fixture = try ServiceFixture()
        let answer = try await exchange("\(route) HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", with: fixture)
        #expect(answer.hasPrefix("HTTP/1.1 \(status) "), "\(answer)")
    }

    @Test func `a worker that is stuck is told by livez and in the log, and the page of metrics still comes`() async throws {
        let fixture = try ServiceFixture {
            PressureTests.slowDown(&$0)
            $0.watchdogStall = .milliseconds(20)
        }
        let peer = try await RawPeer.greeted(fixture.unixEndpoint)
        let probe = "GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
        try await peer.send(embedRequest(1, PressureTests.slowWork))
        #expect(await eventually { !fixture.service.isAdvancing })
        #expect(try await exchange(probe, with: fixture).hasPrefix("HTTP/1.1 503 "))
        let page = try await exchange(probe.replacing("/livez", with: "/metrics"), with: fixture)
        let lag = try #require(page.firstMatch(of: #/\nsae_watchdog_lag_seconds (\S+)/#))
        #expect(try #require(Double(lag.1)) > 0.02)
        #expect(await eventually { fixture.log.contains { $0.contains("\"event\":\"watchdog_lag\"") } })
        try await peer.send(frame(.cancel, stream: 1))
        #expect(await eventually { fixture.service.isAdvancing })
    }

    @Test func `an event loop of HTTP that does not come round is told`() async throws {
        let fixture = try ServiceFixture {
            $0.watchdogStall = .milliseconds(250)
            $0.maximumHTTPBodyBytes = 67_108_864
        }
        #expect(fixture.service.isAdvancing)
        // The loop reads it in one go.
        let long = "{\"other\":[" + String(repeating: "1,", count: 30_000_000) + "1],\"inputs\":\"x\"}"
        let peer = try HTTPPeer(try #require(fixture.service.operationsEndpoint))
        async let answer = peer.ask("POST", "/embed", long)
        #expect(await eventually(20) { !fixture.service.isAdvancing })
        #expect(try await answer.status == 200)
        #expect(await eventually(20) { fixture.service.isAdvancing })
    }

    @Test func `readiness in words tells of jobs, without which the daemon is ready`() async throws {
        for isEnabled in [true, false] {
            let fixture = try ServiceFixture { $0.jobsEnabled = isEnabled }
            let peer = try HTTPPeer(try #require(fixture.service.operationsEndpoint))
            let answer = try await peer.ask("GET", "/readyz?verbose")
            let lines = String(decoding: answer.body, as: UTF8.self).split(separator: "\n")
            #expect(answer.status == 200)
            #expect(lines == ["[+]model", "[+]self-test", "[+]listeners", "[+]not-draining", "[\(isEnabled ? "+" : "-")]jobs (informative)"])
        }
    }

    @Test func `calls under way are counted by their method, over frames and over HTTP`() async throws {
        let fixture = try ServiceFixture(PressureTests.slowDown)
        let counts = {
            fixture.service.metricsPage().split(separator: "\n").filter { $0.hasPrefix("sae_requests_in_flight{") }
        }
        #expect(counts().count == Method.allCases.count && counts().allSatisfy { $0.hasSuffix(" 0") })
        let peer = try await RawPeer.greeted(fixture.unixEndpoint)
        try await peer.send(
            embedRequest(1, PressureTests.slowWork) + request(3, method: Method.embedStream.rawValue, flags: [])
                + request(5, method: Method.healthWatch.rawValue))
        #expect(try await peer.words() == "message")
        let http = try HTTPPeer(try #require(fixture.service.operationsEndpoint))
        try await http.send(HTTPPeer.request("POST", "/similarity", #"{"inputs":{"source_sentence":"a","sentences":["b"]}}"#))
        #expect(await eventually { fixture.metric("sae_requests_in_flight{method=\"Similarity\"}") == 1 })
        for method in ["Embed", "EmbedStream", "Health.Watch"] {
            #expect(fixture.metric("sae_requests_in_flight{method=\"\(method)\"}") == 1, "\(method)")
        }
        for stream: UInt32 in [1, 3, 5] { try await peer.send(frame(.cancel, stream: stream)) }
        #expect(try await http.answer().status == 200)
        #expect(await eventually { counts().allSatisfy { $0.hasSuffix(" 0") } })
    }

    @Test func `a head over the limits and a body are refused`() async throws {
        let fixture = try ServiceFixture()
        let long = String(repeating: "a", count: 17_000)
        #expect(try await exchange("GET /livez HTTP/1.1\r\nhost: localhost\r\nx: \(long)\r\n\r\n", with: fixture).contains(" 431 "))
        let fields = (0..<65).map { "x\($0): 1\r\n" }.joined()
        #expect(try await exchange("GET /livez HTTP/1.1\r\n\(fields)\r\n", with: fixture).contains(" 431 "))
        let body = "GET /livez HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\nab"
        #expect(try await exchange(body, with: fixture).contains(" 413 "))
    }

    @Test(arguments: [
        ("HTTP/1.1\r\nhost: localhost", "200"), ("HTTP/1.1\r\nHost: 127.0.0.1:7734", "200"), ("HTTP/1.1\r\nhost: LocalHost", "200"), ("HTTP/1.1\r\nhost: [::1]:1", "200"),
        ("HTTP/1.1\r\nhost: [::1]", "200"), ("HTTP/1.0", "200"), ("HTTP/1.0\r\nhost: evil", "403"),
        ("HTTP/1.1\r\nhost: evil", "403"), ("HTTP/1.1\r\nhost: localhost.evil:80", "403"), ("HTTP/1.1\r\nhost: ", "403"),
        ("HTTP/1.1\r\nhost: 10.0.0.1", "403"), ("HTTP/1.1", "400"), ("HTTP/1.1\r\nhost: localhost\r\nhost: localhost", "400"),
    ])
    func `only the names of the loopback are served`(head: String, status: String) async throws {
        let fixture = try ServiceFixture()
        for path in ["/livez", "/metrics"] {
            let answer = try await exchange("GET \(path) \(head)\r\nconnection: close\r\n\r\n", with: fixture)
            #expect(answer.hasPrefix("HTTP/1.") && answer.dropFirst(8).hasPrefix(" \(status) "), "\(answer.prefix(200))")
        }
    }

    @Test(arguments: [
        ("http://localhost/livez", "evil", "200"), ("HTTP://127.0.0.1:7734/livez?x", "evil", "200"), ("http://localhost", "evil", "404"),
        ("http://evil/livez", "localhost", "403"), ("http://evil@localhost/livez", "localhost", "403"),
        ("http:///livez", "localhost", "403"), ("ftp://localhost/livez", "localhost", "404"),
    ])
    func `a target in absolute form is its own host`(target: String, host: String, status: String) async throws {
        let answer = try await exchange(
            "GET \(target) HTTP/1.1\r\nhost: \(host)\r\nconnection: close\r\n\r\n", with: try ServiceFixture())
        #expect(answer.hasPrefix("HTTP/1.1 \(status) "), "\(answer.prefix(200))")
    }

    @Test func `the page of metrics says what runs, what serves and what scores`() throws {
        let fixture = try ServiceFixture()
        let generation = String(fixture.engine.generation, radix: 16)
        let digest = hexadecimal(fixture.engine.digest)
        #expect(fixture.metric("sae_generation_info{generation=\"\(generation)\",digest=\"\(digest)\",model=\"tiny\"}") == 1)
        #expect(fixture.metric("sae_scorer_info{scorer=\"\(fixture.engine.numerics)\",device=\"cpu\"}") == 1)
        let build = try #require(fixture.service.metricsPage().split(separator: "\n").first { $0.hasPrefix("sae_build_info") })
        #expect(build.wholeMatch(of: /sae_build_info\{version="\d+\.\d+\.\d+",revision="[0-9A-Za-z-]+"\} 1/) != nil, "\(build)")
    }

    @Test(arguments: ["", "GET /livez HTTP/1.1\r\nhost: localhost\r\n", "GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n"])
    func `a connection that does not go on is closed`(_ begun: String) async throws {
        let fixture = try ServiceFixture {
            $0.idleTimeout = .milliseconds(300)
            $0.frameTimeout = .milliseconds(300)
        }
        // Returns when the daemon closes, and gives up long before the standard idle time.
        let answer = try await exchange(begun, with: fixture)
        #expect(answer.hasSuffix("ok\n") == begun.hasSuffix("\r\n\r\n"))
    }

    @Test(arguments: [
        "", "GET /livez HTTP/1.1\r\n",
        "POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{",
    ])
    func `the port has a bound of its own`(_ begun: String) async throws {
        let fixture = try ServiceFixture()
        let endpoint = try #require(fixture.service.operationsEndpoint)
        var sockets: [Int32] = []
        defer { for number in sockets { close(number) } }
        for _ in 0..<1_100 {
            let socket = try Socket.connecting(to: endpoint)
            sockets.append(socket.release())
            if let last = sockets.last { send(last, begun, begun.utf8.count, Int32(MSG_NOSIGNAL)) }
        }
        // For each one over the bound, the one that has been idle, or unfinished, for longest is closed.
        let isClosed = { (number: Int32) in
            var byte: UInt8 = 0
            let count = recv(number, &byte, 1, 0)
            // A reset where it was closed with something unread.
            return count == 0 || count < 0 && errno == ECONNRESET
        }
        #expect(await eventually { sockets.filter(isClosed).count == 1_100 - 1_024 })
        // A connection is counted once it is closed, which its peer may see first.
        #expect(await eventually { fixture.metrics.connectionsClosed["evicted"].value == 1_100 - 1_024 })
        // Who looks after the daemon gets in beside them.
        #expect(
            try await eventually {
                try await exchange("GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", with: fixture)
                    .hasPrefix("HTTP/1.1 200 ")
            })
    }

    @Test func `metrics count what was served`() async throws {
        let fixture = try ServiceFixture()
        let client = try await Client(connectingTo: fixture.unixEndpoint)
        _ = try await client.embed(["a dog", "", "x"])
        client.close()
        let page = fixture.service.metricsPage()
        #expect(page.contains("sae_requests_total{method=\"Embed\",transport=\"unix\",code=\"OK\"} 1\n"))
        #expect(page.contains("sae_texts_total{outcome=\"ok\"} 2\n"))
        #expect(page.contains("sae_texts_total{outcome=\"error\"} 1\n"))
        #expect(page.contains("sae_refusals_total{limit=\"queue.max_texts\"} 0\n"))
    }

    @Test func `a full queue refuses at once and names its limit`() async throws {
        let fixture = try ServiceFixture { $0.queueMaximumTexts = 4 }
        let client = try await Client(connectingTo: fixture.unixEndpoint)
        do throws(ClientError) {
            _ = try await client.embed(["a", "b", "c", "d", "e"])
            Issue.record("accepted")
        } catch { #expect(error.limit == "queue.max_texts") }
        #expect(try await client.embed(["a", "b"]).errors.isEmpty)
    }

    @Test func `a drain answers what is under way and then stops`() async throws {
        let fixture = try ServiceFixture { $0.drainGrace = .seconds(60) }
        let client = try await Client(connectingTo: fixture.unixEndpoint)
        let texts = GeneratedText.sentences(2_000, seed: 3)
        async let answer = client.embed(texts, timeout: .seconds(60) * patience)
        // The request has arrived: it is counted whether it is under way or answered already.
        #expect(
            await eventually(60) {
                fixture.service.metricsPage().contains("sae_request_texts_count 1\n")
            })
        fixture.service.drain()
        #expect(try await answer.vectors.map(\.bitPattern) == fixture.vectors(texts).vectors.map(\.bitPattern))
        client.close()
        #expect(await eventually(30) { fixture.service.state == .stopped })
        await #expect(throws: ClientError.self) {
            try await Client(connectingTo: fixture.unixEndpoint, timeout: .milliseconds(100))
        }
    }
}
