import Daemon
import Foundation
import Glibc
import SAEClient
import SAEEngine
import TestSupport
import Testing
import Transport

struct OperationTests {
    /// Sends `request` to the HTTP port and reads until the daemon closes.
    private func exchange(_ request: String, with fixture: ServiceFixture) throws -> String {
        let endpoint = try #require(fixture.service.operationsEndpoint)
        let socket = try Socket.connecting(to: endpoint)
        let bytes = Array(request.utf8)
        #expect(send(socket.number, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count)
        var answer: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            var waited = pollfd(fd: socket.number, events: Int16(POLLIN), revents: 0)
            guard poll(&waited, 1, 5_000) == 1 else { break }
            let count = recv(socket.number, &buffer, buffer.count, 0)
            guard count > 0 else { break }
            answer += buffer[..<count]
        }
        return String(decoding: answer, as: UTF8.self)
    }

    @Test(arguments: [
        ("GET /livez", "200"), ("GET /readyz", "200"), ("GET /health", "200"), ("GET /metrics", "200"),
        ("GET /elsewhere", "404"), ("POST /livez", "405"),
    ])
    func `a route answers as documented`(route: String, status: String) throws {
        let fixture = try ServiceFixture()
        let answer = try exchange("\(route) HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n", with: fixture)
        #expect(answer.hasPrefix("HTTP/1.1 \(status) "), "\(answer)")
    }

    @Test func `a head over the limits and a body are refused`() throws {
        let fixture = try ServiceFixture()
        let long = String(repeating: "a", count: 17_000)
        #expect(try exchange("GET /livez HTTP/1.1\r\nx: \(long)\r\n\r\n", with: fixture).contains(" 431 "))
        let fields = (0..<65).map { "x\($0): 1\r\n" }.joined()
        #expect(try exchange("GET /livez HTTP/1.1\r\n\(fields)\r\n", with: fixture).contains(" 431 "))
        let body = "GET /livez HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nab"
        #expect(try exchange(body, with: fixture).contains(" 413 "))
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
        let fixture = try ServiceFixture()
        let client = try await Client(connectingTo: fixture.unixEndpoint)
        let texts = GeneratedText.sentences(2_000, seed: 3)
        async let answer = client.embed(texts)
        // The request has arrived: it is counted whether it is under way or answered already.
        #expect(
            await eventually {
                fixture.service.metricsPage().contains("sae_request_texts_count 1\n")
            })
        fixture.service.drain()
        #expect(try await answer.vectors.map(\.bitPattern) == fixture.vectors(texts).vectors.map(\.bitPattern))
        client.close()
        #expect(await eventually { fixture.service.state == .stopped })
        await #expect(throws: ClientError.self) { try await Client(connectingTo: fixture.unixEndpoint) }
    }
}
