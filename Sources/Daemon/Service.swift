import CPosix
import Dispatch
import Encryption
import Glibc
import Messages
import SwiftProtobuf
package import SAEEngine
import Synchronization
package import Transport
import Wire

/// The version of the daemon and of everything in this package.
package enum Version {
    package static let current = "0.1.0"
}

/// The running daemon: listeners, lanes of connections, scheduler and workers, from start to drain.
///
/// ```swift
/// let service = try Service(configuration, engine: engine, log: log, metrics: metrics)
/// try service.start()
/// service.drain()
/// service.waitUntilStopped()
/// ```
package final class Service: Sendable {
    let current: CurrentServing
    package let metrics: Metrics
    let log: Log
    let scheduler: Scheduler
    let admission: Admission
    let workers: WorkerPool
    let source: ReloadSource?
    let reloadQueue = DispatchQueue(label: "sae.reload")
    let isReloadDue = Atomic<Bool>(false)
    let controlQueue = DispatchQueue(label: "sae.control")
    private let onScorerFailure: @Sendable (String) -> Void
    private let laneStore = Mutex<[Lane]>([])
    private let listeners = Mutex<[Listener]>([])
    let operations = Mutex<HTTPServer?>(nil)
    let connectionCount = Atomic<Int>(0)
    private let nextConnection = Atomic<UInt64>(1)
    private let nextLane = Atomic<Int>(0)
    /// What the drain waits for and with.
    private let jobStore = Mutex<JobStore?>(nil)
    let drainQueue = DispatchQueue(label: "sae.drain")
    let openConnections = DispatchGroup()
    let hasStopped = Atomic<Bool>(false)
    let stopped = DispatchSemaphore(value: 0)
    let notifier = Notifier()
    private let memory = MemoryReturn()
    /// Texts answered when the service manager was told last.
    private let statusTold = Mutex<(texts: UInt64, time: UInt64)>((0, monotonicNanoseconds()))

    /// What serves now: ask once and use that.
    var serving: Serving { current.value }
    var configuration: Configuration { serving.configuration }
    var methods: Methods { Methods(serving) }

    /// Builds everything but opens nothing. Without a source every reload fails. `stallPause`: between two looks at a disk that
    /// takes no more of a job.
    ///
    /// - Throws: `ConfigurationError` about the tokens file, or about certificate and key.
    package init(
        _ configuration: Configuration, engine: Engine, log: Log, metrics: Metrics, source: ReloadSource? = nil,
        stallPause: Duration = .seconds(10)
    ) throws {
        self.source = source
        self.log = log
        self.metrics = metrics
        let cores = Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        let workerCount = configuration.workerCount == 0 ? max(cores, 1) : configuration.workerCount
        let scheduler = Scheduler(limits: .init(configuration)) { request, code in
            request.connection.complete(request, .failed(Failure(code, "the deadline has passed")))
        }
        self.scheduler = scheduler
        current = CurrentServing(
            Serving(
                configuration, try Access(configuration), try configuration.encryption(), Generation(engine, number: 0),
                workerCount: workerCount))
        admission = Admission(current, scheduler: scheduler)
        let onScorerFailure: @Sendable (String) -> Void = { reason in
            metrics.scorerFallbacks.add(1)
            log.write(.scorerFallback, [.reason: reason])
        }
        self.onScorerFailure = onScorerFailure
        workers = WorkerPool(
            count: workerCount, scheduler: scheduler, metrics: metrics, onScorerFailure: onScorerFailure
        ) { request in
            guard !request.isStopped else { return }
            do throws(Failure) {
                guard !request.isInVain else { throw Failure(.deadlineExceeded, "the deadline has passed") }
                let bytes = try request.connection.encoded(try request.answer(), of: request)
                request.connection.complete(request, .answered(bytes))
            } catch {
                request.connection.complete(request, .failed(error))
            }
        }
        // One I/O queue keeps about two workers fed.
        let laneCount = max(1, min(4, cores / 2))
        let lanes = (0..<laneCount).map { Lane(index: $0, service: self) }
        laneStore.withLock { $0 = lanes }
        let jobs = JobStore(service: self, stallPause: stallPause)
        jobStore.withLock { $0 = jobs }
    }

    var jobs: JobStore {
        guard let jobs = jobStore.withLock({ $0 }) else { preconditionFailure("the service has its jobs from its start") }
        return jobs
    }

    var lanes: [Lane] { laneStore.withLock { $0 } }
    package var ioQueueCount: Int { lanes.count }
    var unopenedPerLane: Int { max(1, configuration.maximumUnauthenticated / lanes.count) }

    /// Where frames are taken: with the ports that the kernel chose.
    package var endpoints: [Endpoint] { listeners.withLock { $0.map(\.endpoint) } }
    /// Where HTTP is answered, if anywhere.
    package var operationsEndpoint: Endpoint? { operations.withLock { $0?.endpoint } }
    package var state: ServiceState { admission.serviceState }
    /// Bytes that count against `limits.max_buffer_bytes` now.
    package var bufferedBytes: Int { admission.bufferedBytes }

    /// Embeds the model's test text, opens every listener, then says that the daemon is ready.
    ///
    /// - Throws: `EngineError`, `ConfigurationError` or `TransportError`; nothing stays open then.
    package func start() throws {
        notifier.status("testing the model")
        let engine = serving.engine
        try engine.selfTest()
        if let failure = engine.takeScorerFailure() { onScorerFailure(failure) }
        notifier.status("recovering jobs")
        jobs.open()
        let activated = try ActivatedSockets.take()
        // Connections may have waited for the listeners: their first request is served, not refused.
        admission.beginServing()
        do {
            try open(activated)
        } catch {
            admission.enter(.stopped)
            closeListeners()
            throw error
        }
        let generation = String(methods.generation, radix: 16)
        log.write(.ready, [.generation: generation])
        jobs.startNext()
        jobs.beginSweeps()
        notifier.ready(status: status)
        notifier.keepStatus { [weak self] in
            guard let self, state == .serving else { return nil }
            return status
        }
        memory.watch { [weak self] in
            guard let self, !hasStopped.load(ordering: .relaxed) else { return nil }
            return .init(buffered: bufferedBytes, connections: connectionCount.load(ordering: .relaxed))
        }
        notifier.startWatchdog { [weak self] in self?.isAdvancing ?? false }
    }

    /// What the service manager shows.
    var status: String {
        let (texts, now) = ((0..<3).reduce(0) { $0 + metrics.texts[$1].value }, monotonicNanoseconds())
        let rate = statusTold.withLock { told in
            defer { told = (texts, now) }
            return now > told.time ? Double(texts - told.texts) * 1e9 / Double(now - told.time) : 0
        }
        let connections = connectionCount.load(ordering: .relaxed)
        let generation = String(serving.engine.generation, radix: 16)
        return "serving generation \(generation), connections \(connections), texts a second \(Int(rate))"
    }

    private func open(_ activated: ActivatedSockets) throws {
        let acceptor = lanes[0].ioQueue
        for endpoint in try configuration.frameEndpoints(activated: activated.names) {
            let socket = try Socket.listening(on: endpoint, unixMode: configuration.listenUnixMode)
            try listen(socket, isActivated: false, on: acceptor)
        }
        for activatedSocket in activated.frames {
            try configuration.checkExposure(ofActivated: activatedSocket)
            try listen(Socket(adopting: activatedSocket), isActivated: true, on: acceptor)
        }
        guard !endpoints.isEmpty else { throw ConfigurationError.noListener }
        if let http = activated.http { try configuration.checkExposure(ofActivated: http) }
        if let http = try HTTPServer(configuration, activated: activated.http, service: self) {
            let scheme = serving.encryption == nil ? "http" : "https"
            log.write(.listen, [.endpoint: "\(scheme)://\(http.endpoint.description.dropFirst("tcp://".count))"])
            operations.withLock { $0 = http }
        }
    }

    private func listen(_ socket: consuming Socket, isActivated: Bool, on queue: IOQueue) throws {
        let number = socket.number
        let isUnix = if case .unix = Endpoint(ofLocal: number) { true } else { false }
        let listener = try Listener(socket, isActivated: isActivated, on: queue) { [weak self] descriptor in
            guard let self else { return _ = Glibc.close(descriptor) }
            self.accept(descriptor, isUnix ? .unix : .tcp)
        }
        let isEncrypted = serving.encryption != nil
        log.write(.listen, [.endpoint: (isEncrypted ? listener.endpoint.encrypted : listener.endpoint).description])
        listeners.withLock { $0.append(listener) }
    }

    private func accept(_ descriptor: Int32, _ transport: TransportName) {
        let id = nextConnectionID()
        let lanes = lanes
        // Not by the id, which HTTP's connections take, too.
        let lane = lanes[nextLane.wrappingAdd(1, ordering: .relaxed).oldValue % lanes.count]
        openConnections.enter()
        let isOver = connectionCount.wrappingAdd(1, ordering: .relaxed).newValue > configuration.maximumConnections
        metrics.connectionsOpened[transport.rawValue].add()
        log.write(.connectionOpen, [.conn: String(id), .transport: transport.label])
        lane.ioQueue.async { [self] in
            let socket = Socket(adopting: descriptor)
            let session: EncryptedSession?
            do throws(EncryptionError) {
                let context = transport == .tcp ? serving.encryption : nil
                session = try context.map { context throws(EncryptionError) in try EncryptedSession(context, speaking: "sae/1") }
            } catch {
                log.write(.internalError, [.conn: String(id), .reason: error.summary])
                return connectionIsGone(id, reason: "tls")
            }
            let connection = ServerConnection(socket, session, id: id, transport: transport, lane: lane, service: self)
            lane.add(connection)
            if isOver { connection.close(.resourceExhausted, reason: "max_connections", retryAfter: 1_000) }
        }
    }

    /// What the frames of a new connection must keep.
    var wireLimits: WireLimits {
        let configuration = configuration
        var limits = WireLimits()
        limits.maximumFrameBytes = UInt32(configuration.maximumFrameBytes)
        limits.initialWindow = UInt32(min(configuration.initialWindow, configuration.maximumFrameBytes))
        limits.maximumStreams = configuration.maximumStreamsPerConnection
        limits.maximumStreamingStreams = configuration.maximumStreamingPerConnection
        limits.maximumControlFramesPerSecond = configuration.maximumControlFramesPerSecond
        return limits
    }

    func nextConnectionID() -> UInt64 { nextConnection.wrappingAdd(1, ordering: .relaxed).oldValue }

    /// What the server says of itself to a new connection.
    func hello(connection id: UInt64) -> Sae_V1_Hello {
        let serving = serving
        return .with {
            $0.software = "sae/\(Version.current)"
            $0.connectionID = id
            $0.generation = serving.engine.generation
            $0.limits = Setting.limits(of: serving.configuration)
        }
    }

    /// Every I/O queue and the HTTP port's event loop come round, and no worker is stuck at a slice: what liveness and watchdog mean.
    package var isAdvancing: Bool {
        let isFine = lag <= configuration.watchdogStall
        if !isFine { log.write(.watchdogLag) }
        return isFine
    }

    /// Since the slowest queue, event loop or worker advanced.
    var lag: Duration {
        let now = monotonicNanoseconds()
        let queues = lanes.map { now - min(now, $0.ioQueue.lastTurnNanoseconds) }.max() ?? 0
        let http = operations.withLock { $0?.lag(now) } ?? 0
        return max(.nanoseconds(Int64(max(queues, http))), workers.longestSlice(now))
    }

    func closeListeners() {
        let all = listeners.withLock { listeners in
            defer { listeners.removeAll() }
            return listeners
        }
        for listener in all { listener.close() }
    }

}
