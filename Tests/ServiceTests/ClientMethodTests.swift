import Daemon
import SAEClient
import SAEEngine
import TestSupport
import Testing

/// Calls of the Swift client that the shared cases do not have: Trace, Health.Watch and Drain.
@Suite struct ClientMethodTests {
    @Test func `a trace is the engine's own`() async throws {
        let fixture = try ServiceFixture { $0.maximumTraceBytes = 100 }
        let client = try await Client(connectingTo: fixture.unixEndpoint)
        let text = "The cat watches the river."
        let trace = try await client.trace(text)
        #expect(trace.schema == Trace.schema && trace.generation == fixture.engine.generation)
        #expect(String(decoding: trace.json, as: UTF8.self) == (try fixture.engine.trace(Array(text.utf8)).json))
        do {
            _ = try await client.trace(String(repeating: "x", count: 101))
            Issue.record("traced")
        } catch { #expect(error.code == .invalidArgument && error.limit == "limits.max_trace_bytes") }
        client.close()
    }

    @Test func `a service is watched until the daemon drains, which a client asks for`() async throws {
        let fixture = try ServiceFixture { $0.drainLameDuck = .seconds(60) }
        let client = try await Client(connectingTo: fixture.unixEndpoint)
        var states = client.healthUpdates(of: "sae.v1.Embedding").makeAsyncIterator()
        #expect(try await states.next() == .serving)
        var others = client.healthUpdates(of: "nobody").makeAsyncIterator()
        #expect(try await others.next() == .serviceUnknown)
        let report = try await client.drain(grace: .milliseconds(1))
        // The two watches, and the call itself.
        #expect(report.connections == 1 && (2...3).contains(report.streams), "\(report)")
        #expect(try await states.next() == .notServing)
        client.close()
    }

    @Test func `nobody without the role drains a daemon`() async throws {
        let fixture = try ServiceFixture()
        let client = try await Client(connectingTo: fixture.tcpEndpoint)
        do {
            _ = try await client.drain()
            Issue.record("drained")
        } catch { #expect(error.code == .permissionDenied) }
        #expect(try await client.health() == .serving)
        client.close()
    }
}
