import Bytes
package import SAEClient
import Synchronization
import Transport

/// Load on a daemon. Without a rate a closed loop: each connection has one request under way, and sends the next when it is
/// answered; that finds what a daemon can take. With one an open loop: requests are due at fixed times, whatever became of
/// those before, as with many clients that know nothing of each other; that finds how long they wait. All of it runs on one
/// thread, so that the load takes as little of the machine from the daemon as it can.
package struct Load: Sendable {
    package var endpoint: String
    package var connections: Int
    package var textsPerRequest: Int
    package var duration: Duration
    /// What each request is given.
    package var timeout = Duration.seconds(10)
    /// Requests a second over all connections; nil for a closed loop.
    package var rate: Double?
    /// While nobody listens the first connections are tried again for so long.
    package var connectTimeout = Duration.seconds(5)
    /// How to connect: with which token, and the like.
    package var access = ClientOptions()
    /// Whether each answer is compared with the others of its generation to the same texts.
    package var verifies = false

    package init(endpoint: String, connections: Int, textsPerRequest: Int, duration: Duration) {
        self.endpoint = endpoint
        self.connections = connections
        self.textsPerRequest = textsPerRequest
        self.duration = duration
    }

    /// Runs over `texts` again and again, each connection from a place of its own. What the daemon refuses, answers late or
    /// not at all is counted; nothing is tried again.
    /// - Throws: the failure to connect.
    package func run(_ texts: [[UInt8]]) async throws(ClientError) -> LoadReport {
        let requests = stride(from: 0, to: texts.count, by: textsPerRequest).map {
            LoadRequest(texts[$0..<min(texts.count, $0 + textsPerRequest)])
        }
        var options = access
        options.maximumAttempts = 1
        options.maximumConnections = 1
        let queue = IOQueue(label: "sae.load")
        var clients: [Client] = []
        defer { for client in clients { client.close() } }
        for _ in 0..<connections {
            clients.append(try await Client(connectingTo: endpoint, options: options, timeout: connectTimeout, on: queue))
        }
        let recorder = LoadRecorder(requestCount: verifies ? requests.count : 0)
        let begin = ContinuousClock.now
        await withTaskGroup(of: Void.self) { group in
            for (index, client) in clients.enumerated() {
                let driver = LoadDriver(
                    load: self, client: client, index: index, requests: requests, begin: begin, recorder: recorder)
                group.addTask(executorPreference: queue) { await driver.run() }
            }
        }
        return recorder.report(elapsed: begin.duration(to: .now))
    }
}

/// Texts as they travel.
struct LoadRequest: Sendable {
    let bytes: [UInt8]
    let lengths: [UInt32]

    init(_ texts: ArraySlice<[UInt8]>) {
        bytes = Array(texts.joined())
        lengths = texts.map { UInt32($0.count) }
    }
}

/// One connection's part of a load.
struct LoadDriver: Sendable {
    let load: Load
    let client: Client
    let index: Int
    let requests: [LoadRequest]
    let begin: ContinuousClock.Instant
    let recorder: LoadRecorder

    /// Requests under way on one connection, beyond which the generator, not the daemon, is the one that cannot follow.
    private static let maximumInFlight = 4_096

    func run() async {
        if let rate = load.rate { await runOpen(rate) } else { await runClosed() }
    }

    /// Which of the requests comes as this connection's `number`.
    private func place(_ number: Int) -> Int {
        (requests.count * index / load.connections + number) % requests.count
    }

    private func runClosed() async {
        var number = 0
        while begin.duration(to: .now) < load.duration {
            await send(place(number), due: .now)
            number += 1
        }
    }

    /// The latency of a request counts from when it was due, not from when it could be sent: a daemon, or a generator, that
    /// stands still for a second makes every request of that second late, not one ("coordinated omission", Tene).
    private func runOpen(_ rate: Double) async {
        let inFlight = Counter()
        await withDiscardingTaskGroup { group in
            for number in 0... {
                let due = begin + .seconds((Double(number) * Double(load.connections) + Double(index)) / rate)
                guard begin.duration(to: due) < load.duration else { return }
                if due > .now { try? await Task.sleep(until: due, tolerance: .zero) }
                guard inFlight.value.load(ordering: .relaxed) < Self.maximumInFlight else {
                    recorder.skipped()
                    continue
                }
                inFlight.value.wrappingAdd(1, ordering: .relaxed)
                group.addTask {
                    await send(place(number), due: due)
                    inFlight.value.wrappingSubtract(1, ordering: .relaxed)
                }
            }
        }
    }

    private final class Counter: Sendable {
        let value = Atomic(0)
    }

    private func send(_ place: Int, due: ContinuousClock.Instant) async {
        let request = requests[place]
        let sent = ContinuousClock.now
        do throws(ClientError) {
            let answer = try await client.embed(
                bytes: request.bytes, lengths: request.lengths, as: .float32, timeout: load.timeout)
            recorder.answered(answer.count - answer.errors.count, due: due, sent: sent)
            if load.verifies {
                let crc = answer.bytes.withUnsafeBytes { crc32c($0) }
                recorder.saw(crc, of: place, generation: answer.generation)
            }
        } catch {
            recorder.failed(error, due: due, sent: sent)
        }
    }
}
