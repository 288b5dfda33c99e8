import Bytes
import CPosix
import Diagnostics
import Dispatch
import Glibc
import SAEEngine
package import Scoring

extension Service {
    /// Opens the model, serves until SIGTERM or SIGINT has been obeyed, and returns. A second signal hurries.
    ///
    /// Call it from no Dispatch queue: it blocks its thread.
    ///
    /// `read` gives the settings from all sources, at the start and at each reload (SIGHUP, the method Reload); `probe` tries an
    /// OpenCL device before this process uses it.
    package static func run(
        environment: [String: String], probe: DeviceProbe?, read: @escaping @Sendable () throws -> Configuration
    ) throws {
        let configuration = try read()
        let metrics = Metrics()
        let format = LogFormat(named: configuration.logFormat, environment: environment)
        let writer = LogWriter(format: format, dropped: metrics.logEventsDropped)
        defer { writer.flush() }
        let log = Log(writer, levelNamed: configuration.logLevel)
        log.write(.startup, [.version: Version.current])
        let lowered = configuration.boundToDescriptors(log).withoutMissingFolder(log)
        let scorer = ScorerSettings(
            choice: ScorerChoice(rawValue: configuration.modelScorer) ?? .auto, device: configuration.modelDevice,
            cacheDirectory: KernelCacheDirectory(environment: environment), probe: probe)
        let open: @Sendable (Configuration) throws -> Engine = { settings in
            try Engine(modelPath: settings.modelPathInForce, library: settings.modelLibrary, scorer: scorer)
        }
        let engine = try open(configuration)
        if let failure = engine.scorerOpeningFailure {
            metrics.scorerFallbacks.add(1)
            log.write(.scorerFallback, [.reason: failure])
        }
        let service = try Service(
            lowered, engine: engine, log: log, metrics: metrics, source: ReloadSource(configuration: read, engine: open) { settings, digest in
                try .earlier(digest, modelPath: settings.modelPathInForce, library: settings.modelLibrary, scorer: scorer)
            })
        signal(SIGPIPE, SIG_IGN)
        // A file size limit is an error of the write, as a full disk is.
        signal(SIGXFSZ, SIG_IGN)
        let signals = try watchSignals { number in
            if number == SIGHUP { service.reloadSoon() } else { service.drain() }
        }
        try service.start()
        service.waitUntilStopped()
        signals.cancel()
    }

    /// Reads every file that a start under these settings reads.
    ///
    /// - Throws: what the start would.
    package static func checkFiles(_ configuration: Configuration) throws {
        _ = try Access(configuration)
        _ = try configuration.encryption()
        _ = try Engine(modelPath: try configuration.modelPathInForce, library: configuration.modelLibrary, scorer: .cpu)
    }

    /// Calls `body` with each SIGTERM, SIGINT and SIGHUP. Dispatch's own sources for signals begin to listen some time after
    /// they were activated, and what comes before is lost.
    private static func watchSignals(_ body: @escaping @Sendable (Int32) -> Void) throws -> any DispatchSourceRead {
        let descriptor = sae_watch_signals([SIGTERM, SIGINT, SIGHUP], 3)
        guard descriptor >= 0 else { throw FileError.system(operation: "open", path: "a pipe for signals", errno: -descriptor) }
        let source = DispatchSource.makeReadSource(fileDescriptor: descriptor, queue: DispatchQueue(label: "sae.signal"))
        source.setEventHandler {
            var number: UInt8 = 0
            while read(descriptor, &number, 1) == 1 { body(Int32(number)) }
        }
        source.activate()
        return source
    }
}

extension Configuration {
    /// The model's file: as set, or the one that comes with the program.
    var modelPathInForce: String { get throws { modelPath.isEmpty ? try ResourceLocator.model() : modelPath } }

    /// Without the packaged Unix socket where its folder, which a service manager makes, is not there, and TCP is.
    func withoutMissingFolder(_ log: Log) -> Configuration {
        let folder = "/run/sae"
        guard listenUnix == "\(folder)/sae.sock", !listenTCP.isEmpty, access(folder, F_OK) != 0 else { return self }
        var reduced = self
        reduced.listenUnix = ""
        log.write(.listenSkipped, [.endpoint: "unix:\(listenUnix)", .reason: "there is no \(folder)"])
        return reduced
    }

    /// With the connection limit lowered to what the descriptor limit allows, 512 being left for the rest.
    func boundToDescriptors(_ log: Log) -> Configuration {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return self }
        let allowed = Int(min(limit.rlim_cur, 1 << 30)) - 512
        guard maximumConnections > allowed else { return self }
        var lowered = self
        lowered.maximumConnections = max(allowed, 64)
        log.write(.descriptorLimit, [.limit: "limits.max_connections", .count: String(lowered.maximumConnections)])
        return lowered
    }
}
