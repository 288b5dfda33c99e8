import Foundation
import LoadGeneration
import Messages
import SAEClient
import SwiftProtobuf
import TestPeers
import TestSupport
import Testing
import Wire

@Suite(.serialized) struct LoadTests {
    private let folder: TemporaryFolder
    private var endpoint: String { "unix:\(folder.path("s"))" }

    init() throws { folder = try TemporaryFolder() }

    /// Each text is answered by a vector of one number.
    private func answer(_ request: ScriptedServer.Request) -> ScriptedServer.Act {
        let count = wireMessage(Sae_V1_EmbedRequest.self, request.frame.message)?.lengths.count ?? 0
        let answer = Sae_V1_EmbedResponse.with { $0.count = UInt32(count); $0.dimensions = 1 }
        return request.answer(answer, [UInt8](repeating: 0, count: 4 * count))
    }

    private func load(rate: Double?, seconds: Double, connections: Int = 1, texts: Int = 1) -> Load {
        var load = Load(endpoint: endpoint, connections: connections, textsPerRequest: texts, duration: .seconds(seconds))
        load.rate = rate
        return load
    }

    private let texts = (0..<10).map { Array("text \($0)".utf8) }

    @Test func `an open loop sends what is due, and nothing else`() async throws {
        let server = try ScriptedServer(at: folder.path("s")) { [answer($0)] }
        defer { server.stop() }
        let report = try await load(rate: 200, seconds: 0.5, connections: 3, texts: 4).run(texts)
        #expect(report.answered == 100 && server.requests.count == 100)
        // Requests of 4, 4 and 2 texts in turn, each connection from another one on.
        #expect(report.texts > 300 && report.texts < 360)
        #expect(report.elapsed > .milliseconds(450))
        #expect(report.latencies.count == 100 && report.lags.count == 100)
        #expect(server.connectionCount == 3)
    }

    @Test func `a stall makes every request late that was due in it, in an open loop alone`() async throws {
        let server = try ScriptedServer(at: folder.path("s")) { request in
            if request.number == 20 { Thread.sleep(forTimeInterval: 0.4) }
            return [answer(request)]
        }
        defer { server.stop() }
        let open = try await load(rate: 100, seconds: 1).run(texts)
        // Of a hundred requests forty were due in the stall: a quarter waited over 100 ms.
        #expect(open.answered == 100)
        #expect(open.latencies.quantile(0.75) > 100_000_000, "\(open.latencies.quantile(0.75))")
        #expect(open.latencies.quantile(0.5) < 300_000_000)
    }

    @Test func `refusals, lateness and failures are counted and not tried again`() async throws {
        let server = try ScriptedServer(at: folder.path("s")) { request in
            switch request.number % 4 {
            case 0: [request.end(.resourceExhausted)]
            case 1: [request.end(.internal, isRefused: false)]
            case 2: []
            default: [answer(request)]
            }
        }
        defer { server.stop() }
        var load = load(rate: 200, seconds: 0.4)
        load.timeout = .milliseconds(200)
        let report = try await load.run(texts)
        let counts: [Int] = [report.answered, report.refused, report.failed, report.late]
        #expect(counts == [20, 20, 20, 20] as [Int])
        #expect(server.requests.count == 80 && report.unsent == 0)
        #expect(report.refusalLatencies.count == 20)
        #expect(report.firstFailure?.code == .internal)
    }

    @Test func `a closed loop has one request under way a connection`() async throws {
        let server = try ScriptedServer(at: folder.path("s")) { request in
            Thread.sleep(forTimeInterval: 0.02)
            return [answer(request)]
        }
        defer { server.stop() }
        let report = try await load(rate: nil, seconds: 0.4, connections: 2).run(texts)
        #expect(report.answered == server.requests.count)
        #expect(report.answered >= 2 && report.answered <= 42)
        #expect(report.latencies.quantile(0.01) >= 20_000_000)
    }

    @Test func `a load that verifies counts answers that differ within a generation, and names what it saw`() async throws {
        let server = try ScriptedServer(at: folder.path("s")) { request in
            // Request 19 is the second text of generation 8 again, with another vector.
            let answer = Sae_V1_EmbedResponse.with {
                ($0.count, $0.dimensions, $0.generation) = (1, 1, request.number < 10 ? 7 : 8)
            }
            return [request.answer(answer, [0, 0, UInt8(request.number % 2), request.number == 19 ? 9 : 0])]
        }
        defer { server.stop() }
        var load = load(rate: 100, seconds: 0.2)
        load.verifies = true
        let report = try await load.run(Array(texts.prefix(2)))
        #expect(report.answered == 20 && report.differing == 1)
        #expect(report.generations.map(\.generation) == [7, 8])
        #expect(report.generations.map(\.answered) == [10, 10])
        let digests = report.generations.map(\.digest)
        #expect(digests[0] != nil && digests[0] == digests[1], "the first answers of both are the same")
        load.verifies = false
        #expect(try await load.run(texts).generations.isEmpty)
    }
}
