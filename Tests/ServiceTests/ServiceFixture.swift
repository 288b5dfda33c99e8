import Daemon
import Foundation
import Models
import SAEClient
import SAEEngine
import Scoring
import Synchronization
import TestPeers
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
    /// What a reload reads as the settings; at first those of the start.
    let readings: Mutex<@Sendable () throws -> Configuration>.Box

    /// `configure` changes settings before the start, `prepare` what the engine is in; the log level is debug.
    init(
        scorer: ScorerChoice = .int8, _ configure: (inout Configuration) -> Void = { _ in },
        prepare: (Engine) throws -> Void = { _ in }
    ) throws {
        folder = try TemporaryFolder()
        let cache = KernelCacheDirectory(environment: ProcessInfo.processInfo.environment)
        engine = try Engine(
            contentsOf: try TinyModel.write(in: folder), scorer: ScorerSettings(choice: scorer, cacheDirectory: cache))
        try prepare(engine)
        var configuration = Configuration()
        configuration.listenTCP = "127.0.0.1:0"
        configuration.listenUnix = folder.path("s")
        configuration.httpListen = "127.0.0.1:0"
        configuration.drainLameDuck = .zero
        configuration.drainGrace = .seconds(2)
        configuration.workerCount = 2
        // Many fixtures share few cores: how long a queue takes says little there.
        configuration.queueMaximumWait = .seconds(60)
        configuration.stateDirectory = folder.root
        configuration.jobsMinimumFreeBytes = 0
        configure(&configuration)
        // The daemon is as patient with its peers as the tests are with it.
        for time in [
            \.handshakeTimeout, \.frameTimeout, \.writeStall, \.keepAlive, \.keepAliveTimeout, \.idleTimeout, \.maximumConnectionAge,
            \.drainGrace, \.defaultTimeout,
        ] as [WritableKeyPath<Configuration, Duration>] {
            configuration[keyPath: time] = configuration[keyPath: time] * patience
        }
        metrics = Metrics()
        let lines = Mutex<[String]>.Box([])
        self.lines = lines
        let writer = LogWriter(dropped: metrics.logEventsDropped) { record in
            lines.mutex.withLock { $0.append(record.json) }
        }
        let written = Mutex<(@Sendable () throws -> Configuration)>.Box { [configuration] in configuration }
        readings = written
        let model = folder.path("tiny.sae")
        service = try Service(
            configuration, engine: engine, log: Log(writer, levelNamed: "debug"), metrics: metrics,
            source: ReloadSource(
                configuration: { try written.mutex.withLock { $0 }() },
                engine: { settings in
                    try Engine(
                        modelPath: model, library: settings.modelLibrary,
                        scorer: ScorerSettings(choice: scorer, cacheDirectory: cache))
                },
                earlier: { settings, digest in
                    try .earlier(
                        digest, modelPath: model, library: settings.modelLibrary,
                        scorer: ScorerSettings(choice: scorer, cacheDirectory: cache))
                }), stallPause: .milliseconds(20))
        try service.start()
        unixEndpoint = "unix:\(configuration.listenUnix)"
        tcpEndpoint = service.endpoints.map(\.description).first { $0.hasPrefix("tcp:") } ?? ""
    }

    deinit {
        service.drain()
        service.drain()
        service.waitUntilStopped()
    }

    /// Puts a model in the place of the one that serves, which a reload then reads; its vectors are other ones.
    /// Returns an engine of it.
    func writeModel(named name: String) throws -> Engine {
        let path = folder.path("tiny.sae")
        try TinyModel.contents(named: name).write(to: path)
        return try Engine(contentsOf: path)
    }

    /// Everything logged so far, as JSON lines.
    /// A copy that shares nothing: the thread sanitizer does not see that reference counts order what arrays share.
    var log: [String] { lines.mutex.withLock { $0.map(\.self) } }

    /// The value of a series on the metrics page, named as it stands there.
    func metric(_ series: String) -> Double {
        let line = service.metricsPage().split(separator: "\n").first { $0.hasPrefix("\(series) ") }
        return line.flatMap { Double($0.dropFirst(series.utf8.count + 1)) } ?? .nan
    }

    /// Runs `body`, which mistreats the daemon, while a well-behaved connection embeds all the time; checks that this
    /// one always gets the right bits, and that afterwards nothing is held for anybody.
    func beside(_ body: () async throws -> Void) async throws {
        let texts = ["a dog", "The cat watches the river."]
        let expected = vectors(texts).vectors.map(\.bitPattern)
        let client = try await Client(connectingTo: unixEndpoint)
        let isOver = Mutex<Bool>.Box(false)
        async let rounds = { () async throws -> Int in
            var rounds = 0
            while !isOver.mutex.withLock({ $0 }) || rounds == 0 {
                #expect(try await client.embed(texts).vectors.map(\.bitPattern) == expected)
                rounds += 1
                try await Task.sleep(for: .milliseconds(2))
            }
            return rounds
        }()
        do {
            try await body()
            isOver.mutex.withLock { $0 = true }
        } catch {
            isOver.mutex.withLock { $0 = true }
            throw error
        }
        let completed = try await rounds
        #expect(completed > 0)
        #expect(await eventually { metric("sae_buffer_bytes") == 0 && metric("sae_queue_texts") == 0 })
    }

    /// Runs `body` while four connections embed `texts` without pause, and checks that each answer is, bit for bit, that of the
    /// generation that it names; `body` gets a wait for some answers more. Returns the generations that answered.
    func whileEmbedding(
        _ texts: [String], expecting vectors: [UInt64: [UInt32]],
        _ body: (_ someAnswers: () async -> Void) async throws -> Void
    ) async throws -> Set<UInt64> {
        let isOver = Mutex<Bool>.Box(false)
        let answers = Mutex<Int>.Box(0)
        return try await withThrowingTaskGroup(of: Set<UInt64>.self) { group in
            for _ in 0..<4 {
                group.addTask { [unixEndpoint] in
                    let client = try await Client(connectingTo: unixEndpoint)
                    var seen: Set<UInt64> = []
                    while !isOver.mutex.withLock({ $0 }) {
                        let answer = try await client.embed(texts)
                        #expect(answer.errors.isEmpty && answer.vectors.map(\.bitPattern) == vectors[answer.generation])
                        seen.insert(answer.generation)
                        answers.mutex.withLock { $0 += 1 }
                    }
                    return seen
                }
            }
            defer { isOver.mutex.withLock { $0 = true } }
            try await body {
                let before = answers.mutex.withLock { $0 }
                _ = await eventually { answers.mutex.withLock { $0 } >= before + 4 }
            }
            isOver.mutex.withLock { $0 = true }
            return try await group.reduce(into: Set<UInt64>()) { $0.formUnion($1) }
        }
    }

    /// What the engine gives in this process.
    func vectors(_ texts: [String]) -> EmbeddingBatch { vectors(texts.map { Array($0.utf8) }) }

    func vectors(
        _ texts: [[UInt8]], maximumPieces: Int = 16_384, temperature: Temperature = .fitted
    ) -> EmbeddingBatch {
        var limits = TextLimits()
        limits.maximumPieces = maximumPieces
        var workspace = engine.makeWorkspace()
        var batch = EmbeddingBatch(dimensions: engine.dimensions)
        if let texts = TextBatch(bytes: Array(texts.joined()), lengths: texts.map { UInt32($0.count) }) {
            engine.embed(texts, limits: limits, temperature: temperature, using: &workspace, into: &batch)
        }
        return batch
    }
}

extension Mutex where Value: Sendable {
    final class Box: Sendable {
        let mutex: Mutex<Value>
        init(_ value: Value) { mutex = Mutex(value) }
    }
}
