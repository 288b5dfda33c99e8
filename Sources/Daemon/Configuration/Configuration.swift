/// Every setting of the daemon as a typed value. The initial values here are the defaults; the table in
/// `Setting.all` says what each is called in the file, the environment and on the command line.
package struct Configuration: Sendable, Equatable {
    package var file = "/etc/sae/sae.toml"
    /// Empty: the model shipped beside the binary.
    package var modelPath = ""
    /// Folder of the rule library whose promoted generation serves; empty: the model's own rules.
    package var modelLibrary = ""
    /// Empty: the name in the model file.
    package var modelName = ""

    package var modelScorer = "auto"
    package var modelDevice = "auto"

    package var listenTCP = "127.0.0.1:7733"
    package var listenUnix = "/run/sae/sae.sock"
    package var listenUnixMode = 0o660
    package var httpListen = "127.0.0.1:7734"
    package var maximumHTTPBodyBytes = 4_194_304
    package var httpAPI = true

    /// 0: one worker for each core.
    package var workerCount = 0

    package var maximumFrameBytes = 4_194_304
    package var initialWindow = 1_048_576
    package var maximumTextsPerRequest = 2_048
    package var maximumChunkTexts = 512
    package var maximumTextBytes = 65_536
    package var maximumPiecesPerText = 16_384
    package var maximumSimilarityCells = 262_144
    package var maximumTraceBytes = 16_384
    package var maximumConnections = 16_384
    package var maximumUnauthenticated = 1_024
    package var maximumStreamsPerConnection = 128
    package var maximumStreamingPerConnection = 8
    package var maximumConnectionOutputBytes = 16_777_216
    package var maximumBufferBytes = 134_217_728
    package var maximumControlFramesPerSecond = 1_000
    package var defaultTimeout = Duration.milliseconds(30_000)
    package var maximumTimeout = Duration.milliseconds(3_600_000)
    package var handshakeTimeout = Duration.milliseconds(5_000)
    package var frameTimeout = Duration.milliseconds(20_000)
    package var writeStall = Duration.milliseconds(20_000)
    package var keepAlive = Duration.milliseconds(60_000)
    package var keepAliveTimeout = Duration.milliseconds(20_000)
    package var idleTimeout = Duration.milliseconds(600_000)
    package var maximumConnectionAge = Duration.milliseconds(3_600_000)

    package var queueMaximumTexts = 65_536
    package var queueMaximumPieces = 4_194_304
    package var queueMaximumWait = Duration.milliseconds(250)
    package var batchMaximumTexts = 256
    package var batchMaximumPieces = 8_192

    package var drainLameDuck = Duration.milliseconds(2_000)
    package var drainGrace = Duration.milliseconds(25_000)
    package var watchdogStall = Duration.milliseconds(5_000)

    /// Empty: no tokens.
    package var tokensFile = ""
    package var unixRoles = "embed,jobs,metrics"
    /// PEM files; empty: no TLS.
    package var tlsCertificate = ""
    package var tlsKey = ""
    /// PEM file; empty: clients need no certificate.
    package var tlsClientAuthorities = ""
    package var allowsPlaintext = false

    package var jobsEnabled = true
    /// Corpus jobs lie in `jobs` below it.
    package var stateDirectory = "/var/lib/sae"
    /// Directories, with commas between, below which a job's input may be; empty: inputs are uploaded.
    package var jobsInputRoots = ""
    package var jobsConcurrency = 1
    package var jobsChunkRows = 8_192
    package var jobsMaximumQueued = 64
    package var jobsMaximumPerOwner = 16
    package var jobsMaximumEndedPerOwner = 1_024
    package var jobsMaximumInputBytes = 8_589_934_592
    package var jobsMaximumDiskBytes = 34_359_738_368
    package var jobsMinimumFreeBytes = 1_073_741_824
    package var jobsRetention = Duration.milliseconds(604_800_000)
    package var jobsStallTimeout = Duration.milliseconds(3_600_000)

    package var logLevel = "info"
    package var logFormat = "auto"
    package var logSlowRequest = Duration.milliseconds(100)

    package init() {}
}

extension Duration {
    /// Whole milliseconds, rounded down.
    package var milliseconds: Int {
        let (seconds, attoseconds) = components
        return Int(seconds) * 1_000 + Int(attoseconds / 1_000_000_000_000_000)
    }

    /// Whole nanoseconds, rounded down.
    package var nanoseconds: UInt64 {
        let (seconds, attoseconds) = components
        return UInt64(seconds) * 1_000_000_000 + UInt64(attoseconds / 1_000_000_000)
    }
}
