package import SAEClient
import Transport

/// Load with a fixed number of connections, each with one request under way: what a daemon can take. All of it runs on one
/// thread, so that the load takes as little of the machine from the daemon as it can.
package struct ClosedLoop: Sendable {
    package var endpoint: String
    package var connections: Int
    package var textsPerRequest: Int
    package var duration: Duration

    package init(endpoint: String, connections: Int, textsPerRequest: Int, duration: Duration) {
        self.endpoint = endpoint
        self.connections = connections
        self.textsPerRequest = textsPerRequest
        self.duration = duration
    }

    /// What a run gave.
    package struct Report: Sendable {
        package var requests = 0
        package var texts = 0
        package var elapsed = Duration.zero
        package var latencies = LatencyHistogram()

        package var textsPerSecond: Double { Double(texts) / elapsed.seconds }
    }

    /// Runs over `texts` again and again, each connection from a place of its own.
    /// - Throws: the first failure of any connection.
    package func run(_ texts: [[UInt8]]) async throws(ClientError) -> Report {
        let requests = stride(from: 0, to: texts.count, by: textsPerRequest).map { first in
            let texts = texts[first..<min(texts.count, first + textsPerRequest)]
            return Request(bytes: Array(texts.joined()), lengths: texts.map { UInt32($0.count) })
        }
        let queue = IOQueue(label: "sae.load")
        var clients: [Client] = []
        for _ in 0..<connections { clients.append(try await Client(connectingTo: endpoint, on: queue)) }
        let start = ContinuousClock.now
        let results = await withTaskGroup(of: Result<Report, ClientError>.self) { group in
            for (index, client) in clients.enumerated() {
                group.addTask(executorPreference: queue) {
                    do throws(ClientError) {
                        return .success(try await drive(client, requests, from: requests.count * index / connections, start))
                    } catch { return .failure(error) }
                }
            }
            var results: [Result<Report, ClientError>] = []
            for await result in group { results.append(result) }
            return results
        }
        var report = Report()
        for result in results {
            let part = try result.get()
            report.requests += part.requests
            report.texts += part.texts
            report.latencies.add(part.latencies)
        }
        report.elapsed = start.duration(to: .now)
        return report
    }

    /// Some texts, end to end.
    private struct Request {
        let bytes: [UInt8]
        let lengths: [UInt32]
    }

    private func drive(
        _ client: Client, _ requests: [Request], from first: Int, _ start: ContinuousClock.Instant
    ) async throws(ClientError) -> Report {
        var report = Report()
        var next = first
        while start.duration(to: .now) < duration {
            let request = requests[next % requests.count]
            next += 1
            let sent = ContinuousClock.now
            let answer = try await client.embed(bytes: request.bytes, lengths: request.lengths, as: .float32)
            report.latencies.record(UInt64(sent.duration(to: .now).seconds * 1e9))
            report.requests += 1
            report.texts += answer.count
        }
        client.close()
        return report
    }
}

extension Duration {
    package var seconds: Double {
        let (seconds, attoseconds) = components
        return Double(seconds) + Double(attoseconds) * 1e-18
    }
}
