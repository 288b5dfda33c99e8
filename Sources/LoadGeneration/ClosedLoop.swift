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
        /// Texts that got a vector.
        package var texts = 0
        package var elapsed = Duration.zero
        package var latencies = LatencyHistogram()

        package var textsPerSecond: Double { Double(texts) / elapsed.seconds }
    }

    /// Runs over `texts` again and again, each connection from a place of its own.
    /// - Throws: the first failure of any connection.
    package func run(_ texts: [[UInt8]]) async throws(ClientError) -> Report {
        let requests = stride(from: 0, to: texts.count, by: textsPerRequest).map {
            Array(texts[$0..<min(texts.count, $0 + textsPerRequest)])
        }
        let start = ContinuousClock.now
        let queue = IOQueue(label: "sae.load")
        let results = await withTaskGroup(of: Result<Report, ClientError>.self) { group in
            for connection in 0..<connections {
                group.addTask(executorPreference: queue) {
                    do throws(ClientError) {
                        return .success(
                            try await drive(requests, from: requests.count * connection / connections, start, on: queue))
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

    private func drive(
        _ requests: [[[UInt8]]], from first: Int, _ start: ContinuousClock.Instant, on queue: IOQueue
    ) async throws(ClientError) -> Report {
        let prepared = requests.map { (bytes: Array($0.joined()), lengths: $0.map { UInt32($0.count) }) }
        let client = try await Client(connectingTo: endpoint, on: queue)
        var report = Report()
        var next = first
        while start.duration(to: .now) < duration {
            let request = prepared[next % prepared.count]
            next += 1
            let sent = ContinuousClock.now
            let answer = try await client.embed(bytes: request.bytes, lengths: request.lengths, as: .float32)
            report.latencies.record(UInt64(sent.duration(to: .now).seconds * 1e9))
            report.requests += 1
            report.texts += answer.count - answer.errors.count
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
