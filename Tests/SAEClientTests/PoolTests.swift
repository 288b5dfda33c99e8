import Foundation
import Glibc
import SAEClient
import Synchronization
import TestPeers
import TestSupport
import Testing
import Transport
import Wire

/// How the client comes by its connections.
@Suite(.serialized) struct PoolTests {
    private let place: ServerPlace

    init() throws { place = try ServerPlace() }

    @Test func `a client waits for a daemon that is starting`() async throws {
        async let connecting = Client(connectingTo: place.endpoint, timeout: .seconds(20) * patience)
        try await Task.sleep(for: .milliseconds(250))
        let server = try place.server { [$0.answer()] }
        defer { server.stop() }
        #expect(try await connecting.information().model == "scripted")
    }

    @Test func `where nobody listens the cause is told, in time`() async throws {
        let start = ContinuousClock.now
        do {
            _ = try await Client(connectingTo: place.endpoint, timeout: .milliseconds(400))
            Issue.record("connected")
        } catch { #expect(error.code == .unavailable && error.message.contains("No such file"), "\(error)") }
        #expect(ContinuousClock.now - start < .seconds(4) * patience)
    }

    @Test func `a call waits for the daemon to come back, and says why it did not`() async throws {
        let first = try place.server { [$0.answer()] }
        let client = try await Client(connectingTo: place.endpoint)
        _ = try await client.information()
        first.stop()
        #expect(await eventually(10) { first.openCount == 0 && !FileManager.default.fileExists(atPath: place.folder.path("s")) })
        do {
            _ = try await client.information(timeout: .milliseconds(400))
            Issue.record("answered by nobody")
        } catch { #expect(error.code == .deadlineExceeded && error.message.contains("No such file"), "\(error)") }
        async let answer = client.information(timeout: .seconds(20) * patience)
        try await Task.sleep(for: .milliseconds(100))
        let second = try place.server { [$0.answer()] }
        defer { second.stop() }
        #expect(try await answer.model == "scripted")
    }

    @Test func `calls wait for a lost connection as long as the options say, and the caller hears of it`() async throws {
        let first = try place.server { $0.number == 0 ? [$0.answer()] : [.close] }
        let changes = Mutex<[String]>([])
        var options = ClientOptions()
        options.reconnectTimeout = .milliseconds(600)
        options.onConnectionChange = { change in
            changes.withLock {
                switch change {
                case .lost(let reason): $0.append(reason.message)
                case .restored: $0.append("restored")
                }
            }
        }
        let client = try await Client(connectingTo: place.endpoint, options: options)
        _ = try await client.information()
        #expect(changes.withLock { $0 }.isEmpty)
        // Closed by the server while nothing is under way: nobody has to hear of it.
        first.stop()
        #expect(await eventually(10) { first.openCount == 0 && !FileManager.default.fileExists(atPath: place.folder.path("s")) })
        #expect(changes.withLock { $0 }.isEmpty)
        do {
            _ = try await client.information(timeout: .seconds(600))
            Issue.record("answered by nobody")
        } catch { #expect(error.code == .unavailable && error.message.contains("within 0.6 seconds: cannot connect"), "\(error)") }
        #expect(changes.withLock { $0.count == 1 && $0[0].contains("No such file") })
        let second = try place.server { [$0.answer()] }
        defer { second.stop() }
        #expect(try await client.information().model == "scripted")
        #expect(changes.withLock { $0.last } == "restored")
    }

    @Test func `when every connection has thirty-two calls under way another is opened, up to four`() async throws {
        let server = try place.server { _ in [] }
        defer { server.stop() }
        let client = try await Client(connectingTo: place.endpoint)
        var calls: [Task<ServerInformation?, Never>] = []
        // One after the other, so that a new connection is there before many calls are.
        for count in 1...200 {
            calls.append(Task { try? await client.information(timeout: .seconds(60) * patience) })
            #expect(await eventually(10) { server.requests.count == count })
            if count < 32 { #expect(server.connectionCount == 1) }
        }
        #expect(server.connectionCount == 4)
        for call in calls { call.cancel() }
        for call in calls { _ = await call.value }
        #expect(await eventually(10) { server.cancelCount == 200 })
        let few = (0..<32).map { _ in Task { try? await client.information(timeout: .seconds(60) * patience) } }
        #expect(await eventually(10) { server.requests.count == 232 })
        #expect(server.connectionCount == 4)
        client.close()
        for call in few { _ = await call.value }
    }

    @Test func `calls beyond the streams of a server wait for their turn`() async throws {
        let server = try place.server(limits: ["limits.max_streams_per_connection": 2]) { [$0.answer()] }
        defer { server.stop() }
        var options = ClientOptions()
        options.maximumConnections = 1
        let client = try await Client(connectingTo: place.endpoint, options: options)
        let names = await withTaskGroup(of: String?.self) { group in
            for _ in 0..<50 { group.addTask { try? await client.information().model } }
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(names == [String?](repeating: "scripted", count: 50))
        #expect(server.connectionCount == 1)
    }

    @Test func `a cancelled task ends its call at once, with or without a connection`() async throws {
        let server = try place.server { _ in [] }
        let client = try await Client(connectingTo: place.endpoint)
        func cancelled(_ after: @escaping () async -> Void) async -> ClientError? {
            let call = Task { () async -> ClientError? in
                do throws(ClientError) { _ = try await client.information(timeout: .seconds(600)) } catch { return error }
                return nil
            }
            await after()
            call.cancel()
            return await call.value
        }
        #expect(await cancelled { _ = await eventually(10) { server.requests.count == 1 } }?.code == .cancelled)
        #expect(await eventually(10) { server.cancelCount == 1 })
        server.stop()
        #expect(await eventually(10) { server.openCount == 0 })
        #expect(await cancelled { try? await Task.sleep(for: .milliseconds(50)) }?.code == .cancelled)
        let opening = Task { try await Client(connectingTo: place.endpoint, timeout: .seconds(600)) }
        try await Task.sleep(for: .milliseconds(50))
        opening.cancel()
        await #expect(throws: ClientError.self) { try await opening.value }
        client.close()
        do {
            _ = try await client.information()
            Issue.record("a closed client answers")
        } catch { #expect(error.code == .cancelled) }
    }

    @Test func `of a host with several addresses the first that answers is taken`() throws {
        let live = try Socket.listening(on: .tcp(host: "127.0.0.1", port: 0))
        let there = try #require(Endpoint(ofLocal: live.number))
        let other: Endpoint
        do {
            let closed = try Socket.listening(on: .tcp(host: "127.0.0.1", port: 0))
            other = try #require(Endpoint(ofLocal: closed.number))
        }
        let (gone, good) = (try other.addresses(), try there.addresses())
        #expect(gone.count == 1 && good.count == 1)
        let socket = try Socket.connecting(to: gone + good, of: there, timeout: .seconds(10))
        var peer = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let named = withUnsafeMutableBytes(of: &peer) { getpeername(socket.number, $0.baseAddress?.assumingMemoryBound(to: sockaddr.self), &length) }
        #expect(named == 0 && "tcp://127.0.0.1:\(UInt16(bigEndian: peer.sin_port))" == there.description)
        #expect(throws: TransportError.system(operation: "connect to", endpoint: other.description, errno: ECONNREFUSED)) {
            _ = try Socket.connecting(to: gone + gone, of: other, timeout: .seconds(10)).release()
        }
        // Both families, where the system knows the name for both.
        #expect(try Endpoint(parsing: "tcp://[::1]:9").addresses().map(\.family) == [AF_INET6])
        #expect(try Endpoint(parsing: "tcp://localhost:9").addresses().contains { $0.family == AF_INET })
    }

    @Test func `a short deadline is kept to the millisecond or so`() async throws {
        let server = try place.server { _ in [] }
        defer { server.stop() }
        let client = try await Client(connectingTo: place.endpoint)
        let clock = ContinuousClock()
        var shortest = Duration.seconds(60)
        for _ in 0..<10 {
            let took = await clock.measure { _ = try? await client.information(timeout: .milliseconds(30)) }
            #expect(took >= .milliseconds(29))
            shortest = min(shortest, took)
        }
        #expect(shortest < .milliseconds(80) * patience, "\(shortest)")
        // On a busy machine a call may end before it is sent; what was sent is cancelled.
        #expect(await eventually(10) { server.cancelCount == server.requests.count })
    }
}
