import CPosix
import Dispatch

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
    let configuration: Configuration
    package let metrics: Metrics
    let log: Log
    let wireLimits: WireLimits
    let scheduler: Scheduler
    let admission: Admission
    let methods: Methods
    let workers: WorkerPool
    let unopenedPerLane: Int
    private let engine: Engine
    private let onScorerFailure: @Sendable (String) -> Void
    private let laneStore = Mutex<[Lane]>([])
    private let listeners = Mutex<[Listener]>([])
    let operations = Mutex<HTTPServer?>(nil)
    private let connectionCount = Atomic<Int>(0)
    private let nextConnection = Atomic<UInt64>(1)
    /// What the drain waits for and with.
    let drainQueue = DispatchQueue(label: "sae.drain")
    let openConnections = DispatchGroup()
    let hasStopped = Atomic<Bool>(false)
    let stopped = DispatchSemaphore(value: 0)
    let notifier = Notifier()

    /// Builds everything but opens nothing.
    package init(_ configuration: Configuration, engine: Engine, log: Log, metrics: Metrics) {
        self.configuration = configuration
        self.engine = engine
        self.log = log
        self.metrics = metrics
        var limits = WireLimits()
        limits.maximumFrameBytes = UInt32(configuration.maximumFrameBytes)
        limits.maximumStreams = configuration.maximumStreamsPerConnection
        limits.maximumControlFramesPerSecond = configuration.maximumControlFramesPerSecond
        wireLimits = limits
        let cores = Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        let workerCount = configuration.workerCount == 0 ? max(cores, 1) : configuration.workerCount
        let scheduler = Scheduler(
            limits: .init(
                maximumTexts: configuration.batchMaximumTexts, maximumPieces: configuration.batchMaximumPieces)
        ) { request, code in
            request.connection.complete(request, .failed(Failure(code, "the deadline has passed")))
        }
        self.scheduler = scheduler
        admission = Admission(configuration, workerCount: workerCount, scheduler: scheduler)
        methods = Methods(configuration, engine: engine, workerCount: workerCount)
        let onScorerFailure: @Sendable (String) -> Void = { reason in
            metrics.scorerFallbacks.add(1)
            log.write(.scorerFallback, [.reason: reason])
        }
        self.onScorerFailure = onScorerFailure
        workers = WorkerPool(
            count: workerCount, engine: engine, scheduler: scheduler, metrics: metrics, onScorerFailure: onScorerFailure
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
        unopenedPerLane = max(1, configuration.maximumUnauthenticated / laneCount)
        let lanes = (0..<laneCount).map { Lane(index: $0, service: self) }
        laneStore.withLock { $0 = lanes }
    }

    var lanes: [Lane] { laneStore.withLock { $0 } }
    package var ioQueueCount: Int { lanes.count }

    /// Where frames are taken: with the ports that the kernel chose.
    package var endpoints: [Endpoint] { listeners.withLock { $0.map(\.endpoint) } }
    /// Where HTTP is answered, if anywhere.
    package var operationsEndpoint: Endpoint? { operations.withLock { $0?.endpoint } }
    package var state: ServiceState { admission.serviceState }

    /// Embeds the model's test text, opens every listener, then says that the daemon is ready.
    ///
    /// - Throws: `EngineError`, `ConfigurationError` or `TransportError`; nothing stays open then.
    package func start() throws {
        notifier.status("testing the model")
        try engine.selfTest()
        if let failure = engine.takeScorerFailure() { onScorerFailure(failure) }
        let activated = try ActivatedSockets.take()
        // Connections may have waited for the listeners: their first request is served, not refused.
        admission.enter(.serving)
        do {
            try open(activated)
        } catch {
            admission.enter(.stopped)
            closeListeners()
            throw error
        }
        let generation = String(methods.generation, radix: 16)
        log.write(.ready, [.generation: generation])
        notifier.ready(status: "serving generation \(generation)")
        notifier.startWatchdog { [weak self] in self?.isAdvancing ?? false }
    }

    private func open(_ activated: ActivatedSockets) throws {
        let acceptor = lanes[0].ioQueue
        for endpoint in try configuration.frameEndpoints(activated: activated.names) {
            let socket = try Socket.listening(on: endpoint, unixMode: configuration.listenUnixMode)
            try listen(socket, isActivated: false, on: acceptor)
        }
        for activatedSocket in activated.frames {
            let endpoint = Endpoint(ofLocal: activatedSocket)
            guard endpoint?.isLoopback == true else {
                throw ConfigurationError.notLoopback(key: "an activated socket", address: "\(String(describing: endpoint))")
            }
            try listen(Socket(adopting: activatedSocket), isActivated: true, on: acceptor)
        }
        guard !endpoints.isEmpty else { throw ConfigurationError.noListener }
        if let http = try HTTPServer(configuration, activated: activated.http, service: self) {
            log.write(.listen, [.endpoint: "http://\(http.endpoint.description.dropFirst("tcp://".count))"])
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
        log.write(.listen, [.endpoint: listener.endpoint.description])
        listeners.withLock { $0.append(listener) }
    }

    private func accept(_ descriptor: Int32, _ transport: TransportName) {
        let id = nextConnectionID()
        let lanes = lanes
        let lane = lanes[Int(id) % lanes.count]
        openConnections.enter()
        let isOver = connectionCount.wrappingAdd(1, ordering: .relaxed).newValue > configuration.maximumConnections
        metrics.connectionsOpened[transport.rawValue].add()
        let peer = Self.peer(descriptor, transport)
        log.write(.connectionOpen, [.conn: String(id), .peer: peer])
        lane.ioQueue.async { [self] in
            let connection = ServerConnection(
                descriptor, id: id, transport: transport, peer: peer, lane: lane, service: self)
            lane.add(connection)
            if isOver { connection.close(.resourceExhausted, reason: "max_connections", retryAfter: 1_000) }
        }
    }

    func nextConnectionID() -> UInt64 { nextConnection.wrappingAdd(1, ordering: .relaxed).oldValue }

    private static func peer(_ descriptor: Int32, _ transport: TransportName) -> String {
        var pid: UInt32 = 0, uid: UInt32 = 0, gid: UInt32 = 0
        guard transport == .unix, sae_peer_credentials(descriptor, &pid, &uid, &gid) == 0 else { return "anonymous" }
        return "uid:\(uid)"
    }

    /// What the server says of itself to a new connection.
    func hello(connection id: UInt64) -> Sae_V1_Hello {
        .with {
            $0.software = "sae/\(Version.current)"
            $0.connectionID = id
            $0.roles = ["embed", "metrics"]
            $0.generation = methods.generation
            $0.limits = limitsOfHello
        }
    }

    private var limitsOfHello: [String: UInt64] { Setting.limits(of: configuration) }

    /// Every I/O queue has come round and no worker is stuck at a slice: what liveness and watchdog mean.
    package var isAdvancing: Bool {
        let now = monotonicNanoseconds()
        let stall = configuration.watchdogStall
        let turned = lanes.allSatisfy { now <= $0.ioQueue.lastTurnNanoseconds + stall.nanoseconds }
        let isFine = turned && workers.longestSlice(now) <= stall
        if !isFine { log.write(.watchdogLag) }
        return isFine
    }

    func closeListeners() {
        let all = listeners.withLock { listeners in
            defer { listeners.removeAll() }
            return listeners
        }
        for listener in all { listener.close() }
    }

}

/// What connections report.
extension Service {
    func connectionClosed(_ connection: ServerConnection, reason: String) {
        connectionCount.wrappingSubtract(1, ordering: .relaxed)
        openConnections.leave()
        connectionIsQuiet()
        metrics.connectionsClosed[reason].add()
        log.write(.connectionClose, [.conn: String(connection.id), .reason: reason])
    }

    func connectionViolated(_ connection: ServerConnection, _ reason: String) {
        guard Metrics.protocolReasons.contains(reason) else { return }
        metrics.protocolErrors[reason].add()
        log.write(.protocolError, [.conn: String(connection.id), .peer: connection.peer, .reason: reason])
    }

    func httpConnectionOpened(_ id: UInt64) {
        openConnections.enter()
        metrics.connectionsOpened[TransportName.http.rawValue].add()
        log.write(.connectionOpen, [.conn: String(id), .peer: "http"])
    }

    func httpConnectionClosed(_ id: UInt64, reason: String) {
        openConnections.leave()
        metrics.connectionsClosed[reason].add()
        log.write(.connectionClose, [.conn: String(id), .reason: reason])
    }

    func slowReader(_ id: UInt64, peer: String) { log.write(.slowReader, [.conn: String(id), .peer: peer]) }

    func refused(_ failure: Failure, conn: UInt64) {
        let limit = failure.limit.isEmpty ? "state" : failure.limit
        metrics.refusals[limit].add()
        log.write(.refused, [.limit: limit, .code: failure.code.name, .conn: String(conn)])
    }

    /// A call that ended with an answer from a worker.
    func answered(_ request: Request) {
        metrics.queueDuration.observe(request.queueMicroseconds)
        metrics.computeDuration.observe(request.computeMicroseconds)
        let took = ended(request.method, request.connection.transport, .ok, since: request.arrival)
        guard took >= configuration.logSlowRequest || log.takes(.request) else { return }
        var facts: [LogKey: String] = [
            .conn: String(request.connection.id), .stream: String(request.stream),
            .method: request.method.name, .texts: String(request.lengths.count),
            .queueMicroseconds: String(request.queueMicroseconds),
            .computeMicroseconds: String(request.computeMicroseconds),
        ]
        facts[.requestID] = request.connection.requestID
        log.write(took >= configuration.logSlowRequest ? .slowRequest : .request, facts)
    }

    /// Counts a terminal frame; how long the call took.
    @discardableResult
    func ended(_ method: Method?, _ transport: TransportName, _ code: StatusCode, since arrival: UInt64) -> Duration {
        let now = monotonicNanoseconds()
        let nanoseconds = now > arrival ? now - arrival : 0
        metrics.requestEnded(
            method.map(MethodName.init) ?? .unknown, transport, code: Int(code.rawValue), microseconds: Int(nanoseconds / 1_000))
        return .nanoseconds(Int64(nanoseconds))
    }
}

extension MethodName {
    init(_ method: Method) {
        self =
            switch method {
            case .embed: .embed
            case .similarity: .similarity
            case .tokenize: .tokenize
            case .info: .info
            case .healthCheck: .healthCheck
            }
    }
}
