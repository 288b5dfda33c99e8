import Daemon
import SAEEngine
import Synchronization
import TestSupport
import Testing
import Transport

/// A daemon in this process, with the tiny model, on a Unix socket in a folder of its own and on ports that the
/// kernel chose. It drains, without a lame-duck time, when the fixture goes.
final class ServiceFixture: Sendable {
    let service: Service
    let engine: Engine
    let metrics: Metrics
    let unixEndpoint: String
    let tcpEndpoint: String
    let folder: TemporaryFolder
    private let lines: Mutex<[String]>.Box

    /// `configure` changes settings before the start; the log level is debug.
    init(_ configure: (inout Configuration) -> Void = { _ in }) throws {
        folder = try TemporaryFolder()
        engine = try Engine(contentsOf: try TinyModel.write(in: folder))
        var configuration = Configuration()
        configuration.listenTCP = "127.0.0.1:0"
        configuration.listenUnix = folder.path("s")
        configuration.httpListen = "127.0.0.1:0"
        configuration.drainLameDuck = .zero
        configuration.drainGrace = .seconds(2)
        configuration.workerCount = 2
        configure(&configuration)
        metrics = Metrics()
        let lines = Mutex<[String]>.Box([])
        self.lines = lines
        let writer = LogWriter(dropped: metrics.logEventsDropped) { record in
            lines.mutex.withLock { $0.append(record.json) }
        }
        service = Service(
            configuration, engine: engine, log: Log(writer, levelNamed: "debug"), metrics: metrics)
        try service.start()
        unixEndpoint = "unix:\(configuration.listenUnix)"
        tcpEndpoint = service.endpoints.map(\.description).first { $0.hasPrefix("tcp:") } ?? ""
    }

    deinit {
        service.drain()
        service.drain()
        service.waitUntilStopped()
    }

    /// Everything logged so far, as JSON lines.
    var log: [String] { lines.mutex.withLock { $0 } }

    /// What the engine gives in this process.
    func vectors(_ texts: [String]) -> EmbeddingBatch {
        var workspace = engine.makeWorkspace()
        var batch = EmbeddingBatch(dimensions: engine.dimensions)
        engine.embed(TextBatch(texts), using: &workspace, into: &batch)
        return batch
    }
}

extension Mutex where Value: Sendable {
    final class Box: Sendable {
        let mutex: Mutex<Value>
        init(_ value: Value) { mutex = Mutex(value) }
    }
}

/// Waits until `condition` holds, at most `seconds`.
func eventually(_ seconds: Double = 5, _ condition: () async throws -> Bool) async rethrows -> Bool {
    let clock = ContinuousClock()
    let end = clock.now + .seconds(seconds)
    while clock.now < end {
        if try await condition() { return true }
        try? await Task.sleep(for: .milliseconds(5))
    }
    return try await condition()
}
