import Foundation
import Glibc
import Messages
import SAEClient
import SwiftProtobuf
import TestPeers
import TestSupport
import Testing
import Transport
import Wire

/// What the client makes again, and what it does not.
@Suite(.serialized) struct RetryTests {
    private let place: ServerPlace

    init() throws { place = try ServerPlace() }

    /// The error of a call that must fail.
    private func failure(_ client: Client, timeout: Duration = .seconds(10) * patience) async -> ClientError? {
        do throws(ClientError) {
            _ = try await client.information(timeout: timeout)
            Issue.record("it succeeded")
            return nil
        } catch { return error }
    }

    @Test(arguments: [StatusCode.resourceExhausted, .unavailable])
    func `a refused call is made again, after the time that the server asks for`(_ code: StatusCode) async throws {
        let server = try place.server { $0.number == 0 ? [$0.end(code, retryAfter: 200)] : [$0.answer()] }
        defer { server.stop() }
        let client = try await Client(connectingTo: place.endpoint)
        #expect(try await client.information().model == "scripted")
        let times = server.requests
        #expect(times.count == 2 && times[1] - times[0] >= .milliseconds(160))
    }

    @Test func `a call is made three times at most`() async throws {
        let server = try place.server { [$0.end(.resourceExhausted)] }
        defer { server.stop() }
        let client = try await Client(connectingTo: place.endpoint)
        #expect(await failure(client)?.code == .resourceExhausted)
        #expect(server.requests.count == 3)
        var options = ClientOptions()
        options.maximumAttempts = 1
        #expect(await failure(try await Client(connectingTo: place.endpoint, options: options))?.code == .resourceExhausted)
        #expect(server.requests.count == 4)
    }

    @Test(arguments: [
        (StatusCode.unavailable, false), (.resourceExhausted, false), (.internal, true), (.invalidArgument, true),
        (.deadlineExceeded, true),
    ])
    func `a call that may have begun, or cannot succeed, is not made again`(_ code: StatusCode, isRefused: Bool) async throws {
        let server = try place.server { [$0.end(code, isRefused: isRefused)] }
        defer { server.stop() }
        let client = try await Client(connectingTo: place.endpoint)
        #expect(await failure(client)?.code.name == code.name)
        #expect(server.requests.count == 1)
    }

    @Test func `a job that is gone after a lost answer is deleted, one that never was is not found`() async throws {
        let server = try place.server { $0.number == 1 ? [.close] : [$0.end(.notFound, isRefused: false)] }
        defer { server.stop() }
        let client = try await Client(connectingTo: place.endpoint)
        do {
            try await client.deleteJob("none")
            Issue.record("deleted what never was")
        } catch { #expect(error.code == .notFound && !error.followsLoss) }
        try await client.deleteJob("job")
        #expect(server.requests.count == 3)
    }

    @Test func `a pause that outlasts the deadline is not begun`() async throws {
        let server = try place.server { [$0.end(.resourceExhausted, retryAfter: 60_000)] }
        defer { server.stop() }
        let client = try await Client(connectingTo: place.endpoint)
        let start = ContinuousClock.now
        #expect(await failure(client, timeout: .seconds(5) * patience)?.code == .resourceExhausted)
        #expect(ContinuousClock.now - start < .seconds(4) * patience)
    }

    @Test func `a call whose connection is lost is made again on another, once`() async throws {
        let server = try place.server { $0.number == 1 ? [$0.answer()] : [.close] }
        defer { server.stop() }
        let client = try await Client(connectingTo: place.endpoint)
        #expect(try await client.information().model == "scripted")
        #expect(server.connectionCount == 2)
        #expect(await failure(client)?.code == .unavailable)
        #expect(server.requests.count == 4)
    }

    @Test func `calls above the last stream of a GOAWAY go to another connection, and the others are answered here`() async throws {
        let server = try place.server { request in
            switch request.number {
            case 0: []
            case 1: [request.goAway(last: 1), .send(frame(.message, flags: .last, stream: 1, message: info("old")))]
            default: [request.answer(Sae_V1_InfoResponse.with { $0.model = "new" })]
            }
        }
        defer { server.stop() }
        let client = try await Client(connectingTo: place.endpoint)
        async let first = client.information().model
        #expect(await eventually(10) { server.requests.count == 1 })
        async let second = client.information().model
        #expect(try await first == "old")
        #expect(try await second == "new")
        // The old connection ends with its last call.
        #expect(await eventually(10) { server.connectionCount == 2 && server.openCount == 1 })
    }

    @Test func `when most calls fail none is made again`() async throws {
        let server = try place.server { [$0.end(.unavailable)] }
        defer { server.stop() }
        let client = try await Client(connectingTo: place.endpoint)
        for _ in 0..<4 { _ = await failure(client) }
        let before = server.requests.count
        for _ in 0..<5 { _ = await failure(client) }
        #expect(server.requests.count == before + 5)
    }

    @Test func `a call is made again and again for as long as the options say`() async throws {
        let server = try place.server { $0.number < 12 ? [$0.end(.resourceExhausted, retryAfter: 10)] : [$0.answer()] }
        defer { server.stop() }
        var options = ClientOptions()
        options.refusalTimeout = .seconds(60)
        let client = try await Client(connectingTo: place.endpoint, options: options)
        #expect(try await client.information(timeout: .seconds(30) * patience).model == "scripted")
        #expect(server.requests.count == 13)
    }

    @Test func `after the time that the options say a refusal is told`() async throws {
        let server = try place.server { [$0.end(.resourceExhausted, retryAfter: 50)] }
        defer { server.stop() }
        var options = ClientOptions()
        options.refusalTimeout = .milliseconds(400)
        let client = try await Client(connectingTo: place.endpoint, options: options)
        #expect(await failure(client, timeout: .seconds(60) * patience)?.code == .resourceExhausted)
        let times = server.requests
        #expect(times.count > 3 && times[times.count - 1] - times[0] >= .milliseconds(340))
    }

    private static let row = Sae_V1_EmbedResponse.with { $0.count = 1; $0.dimensions = 1; $0.generation = 5 }

    private func stream(_ texts: [String], _ client: Client) async throws -> [EncodedEmbeddings] {
        let sequence = AsyncStream { continuation in
            for text in texts { continuation.yield(text) }
            continuation.finish()
        }
        return try await client.embedStream(sequence).reduce(into: []) { $0.append($1) }
    }

    @Test(arguments: [StatusCode.resourceExhausted, .unavailable])
    func `a streaming call that is refused is made again, and says again what it said`(_ code: StatusCode) async throws {
        let server = try place.server(
            hear: { $0.number == 0 ? [$0.end(code)] : [$0.part(Self.row, [1, 2, 3, 4]), $0.finish()] }) { _ in [] }
        defer { server.stop() }
        let client = try await Client(connectingTo: place.endpoint)
        #expect(try await stream(["a"], client).map(\.bytes) == [[1, 2, 3, 4]])
        #expect(server.requests.count == 2 && server.messageCount == 2 && server.connectionCount == 1)
    }

    @Test func `a streaming call that was answered in part is not made again`() async throws {
        var answer = Self.row
        answer.count = 256
        let server = try place.server(hear: { [answer] in
            $0.number == 0 ? [$0.part(answer, [UInt8](repeating: 0, count: 1_024)), $0.end(.resourceExhausted)] : []
        }) { _ in [] }
        defer { server.stop() }
        let client = try await Client(connectingTo: place.endpoint)
        do {
            _ = try await stream([String](repeating: "a", count: 512), client)
            Issue.record("it succeeded")
        } catch { #expect((error as? ClientError)?.code == .resourceExhausted) }
        #expect(server.requests.count == 1)
    }

    @Test(arguments: [StatusCode.unavailable, .aborted])
    func `a stream that ends before its first answer is begun anew`(_ code: StatusCode) async throws {
        let server = try place.server(
            hear: { $0.number == 0 ? [$0.end(code, isRefused: false)] : [$0.part(Self.row, [1, 2, 3, 4]), $0.finish()] }) { _ in [] }
        defer { server.stop() }
        let client = try await Client(connectingTo: place.endpoint)
        #expect(try await stream(["a"], client).map(\.generation) == [5])
        #expect(server.requests.count == 2)
    }

    @Test func `a stream whose generation goes after an answer is an error, and none after the last one`() async throws {
        var answer = Self.row
        answer.count = 256
        let server = try place.server(hear: { [answer] in
            [$0.part(answer, [UInt8](repeating: 0, count: 1_024)), $0.end(.aborted, isRefused: false)]
        }) { _ in [] }
        defer { server.stop() }
        let client = try await Client(connectingTo: place.endpoint)
        do {
            _ = try await stream([String](repeating: "a", count: 512), client)
            Issue.record("it succeeded")
        } catch { #expect((error as? ClientError)?.code == .aborted) }
        #expect(server.requests.count == 1)
        #expect(try await stream([String](repeating: "a", count: 256), client).map(\.count) == [256])
        #expect(server.requests.count == 2)
    }

    @Test func `streaming calls beyond those of a server wait for their turn, and hold up no other call`() async throws {
        let server = try place.server(limits: ["limits.max_streaming_per_connection": 2]) { request in
            request.frame.header.method == Method.info.rawValue ? [request.answer()] : []
        }
        defer { server.stop() }
        var options = ClientOptions()
        options.maximumConnections = 1
        let client = try await Client(connectingTo: place.endpoint, options: options)
        let watches = (0..<3).map { _ in Task { for try await _ in client.updates(of: "job") {} } }
        #expect(await eventually(10) { server.requests.count == 2 })
        #expect(try await client.information().model == "scripted")
        #expect(server.requests.count == 3)
        client.close()
        for watch in watches { _ = await watch.result }
        let more = try await Client(connectingTo: place.endpoint)
        let others = (0..<5).map { _ in Task { for try await _ in more.updates(of: "job") {} } }
        // The fifth goes to a third connection.
        #expect(await eventually(10) { server.requests.count == 8 && server.connectionCount == 4 })
        for other in others { other.cancel() }
        for other in others { _ = await other.result }
    }

    @Test func `a watch goes on over a connection that is lost`() async throws {
        let server = try place.server { request in
            let state = Sae_V1_HealthCheckResponse.with { $0.status = request.number == 0 ? .serving : .notServing }
            return [request.part(state)] + (request.number == 0 ? [.close] : [])
        }
        defer { server.stop() }
        let client = try await Client(connectingTo: place.endpoint)
        var heard: [ServingStatus] = []
        for try await state in client.healthUpdates() {
            heard.append(state)
            if state == .notServing { break }
        }
        // Of changes that nobody has looked at the last is told.
        #expect(heard == [.serving, .notServing] || heard == [.notServing])
        #expect(await eventually(10) { server.cancelCount == 1 }, "who looks no longer says so")
    }

    @Test func `texts that two models answered are embedded again by one`() async throws {
        // One text a request; the model changes after the second one.
        let server = try place.server(limits: ["limits.max_texts_per_request": 1]) { request in
            let generation: UInt64 = request.number < 2 ? 1 : 2
            let answer = Sae_V1_EmbedResponse.with { $0.count = 1; $0.dimensions = 1; $0.generation = generation }
            return [request.answer(answer, withUnsafeBytes(of: Float(generation)) { Array($0) })]
        }
        defer { server.stop() }
        let client = try await Client(connectingTo: place.endpoint)
        let answer = try await client.embed(["a", "b", "c", "d"])
        #expect(answer.generation == 2 && answer.vectors == [2, 2, 2, 2])
        #expect(server.requests.count == 8)
    }

    @Test func `a model that changes all the time is an error`() async throws {
        let server = try place.server(limits: ["limits.max_texts_per_request": 1]) { request in
            let answer = Sae_V1_EmbedResponse.with { $0.count = 1; $0.dimensions = 1; $0.generation = UInt64(request.number) }
            return [request.answer(answer, [0, 0, 0, 0])]
        }
        defer { server.stop() }
        let client = try await Client(connectingTo: place.endpoint)
        do {
            _ = try await client.embed(["a", "b"])
            Issue.record("it succeeded")
        } catch { #expect(error.code == .unavailable && error.message.contains("model changed")) }
    }

    @Test func `pauses grow to their bounds, and failures use up the budget`() throws {
        var backoff = Backoff()
        let pauses = (0..<14).map { _ in backoff.pause(jitter: 0) }
        #expect(pauses[..<3] == [100_000_000, 160_000_000, 256_000_000] && pauses[13] == 10_000_000_000)
        #expect(backoff.pause(jitter: -1) == 8_000_000_000 && backoff.pause(jitter: 1) == 12_000_000_000)
        var retry = RetryPolicy(maximumAttempts: 9)
        let delays: [UInt64?] = (1...7).map { retry.delay(afterAttempts: $0, retryAfter: nil, jitter: 0) }
        let expected: [UInt64] = [50_000_000, 100_000_000, 200_000_000, 400_000_000, 800_000_000, 1_000_000_000, 1_000_000_000]
        #expect(delays == expected)
        #expect(retry.delay(afterAttempts: 9, retryAfter: nil, jitter: 0) == nil)
        #expect(retry.delay(afterAttempts: 1, retryAfter: 1_000, jitter: 0.5) == 1_100)
        for _ in 0..<4 { retry.callFailed() }
        #expect(retry.delay(afterAttempts: 1, retryAfter: nil, jitter: 0) != nil)
        retry.callFailed()
        #expect(retry.delay(afterAttempts: 1, retryAfter: nil, jitter: 0) == nil)
        for _ in 0..<2 { retry.callSucceeded() }
        #expect(retry.delay(afterAttempts: 1, retryAfter: nil, jitter: 0) != nil)
    }

    @Test func `a socket that this user may not open is told as that, and not tried again`() {
        let denied = ClientError(TransportError.system(operation: "connect to", endpoint: "unix:/s", errno: EACCES))
        #expect(denied.code == .permissionDenied && !denied.isRefused && denied.message.contains("the right to write to the socket"))
        let absent = ClientError(TransportError.system(operation: "connect to", endpoint: "unix:/s", errno: ENOENT))
        #expect(absent.code == .unavailable && absent.isRefused)
    }
}

private func info(_ model: String) -> [UInt8] { wireBytes(Sae_V1_InfoResponse.with { $0.model = model }) }
