/// One row of the table of settings: the single place from which names, flags, help, defaults, ranges, the
/// check for unknown keys and the output of `--check-config` derive.
package struct Setting: Sendable {
    package typealias Field<Value> = WritableKeyPath<Configuration, Value> & Sendable

    /// What a setting holds, and where.
    package enum Kind: Sendable {
        case text(any Field<String>)
        case choice(any Field<String>, [String])
        case integer(any Field<Int>, ClosedRange<Int>)
        /// A number written in octal, as file modes are.
        case octal(any Field<Int>, ClosedRange<Int>)
        case milliseconds(any Field<Duration>, ClosedRange<Int>)
        case truth(any Field<Bool>)
    }

    /// Dotted name in the file.
    package let key: String
    package let flag: String
    package let kind: Kind
    package let meaning: String

    /// True when a reload puts a new value in force; the others are read at the start only.
    package var isReloadable: Bool { !Self.fixed.contains(key) }

    /// What listeners, threads, scorers and the handshakes of open connections were made with.
    private static let fixed: Set = [
        "config", "model.scorer", "model.device", "listen.tcp", "listen.unix", "listen.unix_mode", "http.listen", "workers.count",
        "limits.max_frame_bytes", "limits.initial_window", "log.format", "tls.plaintext_ok",
        "jobs.enabled", "state.directory",
    ]

    init(_ key: String, flag: String? = nil, _ kind: Kind, _ meaning: String) {
        self.key = key
        self.flag = flag ?? "--" + Setting.dashed(key)
        self.kind = kind
        self.meaning = meaning
    }

    private static func dashed(_ key: String) -> String {
        String(key.map { $0 == "." || $0 == "_" ? "-" : $0 })
    }

    /// `SAE_` and the key in capitals.
    package var environment: String {
        "SAE_" + String(key.map { $0 == "." ? "_" : $0 }).uppercased()
    }

    /// The value in `configuration` as it would be written in the file.
    package func value(in configuration: Configuration) -> String {
        switch kind {
        case .text(let field), .choice(let field, _): Self.quoted(configuration[keyPath: field])
        case .integer(let field, _): String(configuration[keyPath: field])
        case .octal(let field, _): "\"0" + String(configuration[keyPath: field], radix: 8) + "\""
        case .milliseconds(let field, _): String(configuration[keyPath: field].milliseconds)
        case .truth(let field): String(configuration[keyPath: field])
        }
    }

    /// Gives `target` the value that `source` has.
    func copy(from source: Configuration, to target: inout Configuration) {
        switch kind {
        case .text(let field), .choice(let field, _): target[keyPath: field] = source[keyPath: field]
        case .integer(let field, _), .octal(let field, _): target[keyPath: field] = source[keyPath: field]
        case .milliseconds(let field, _): target[keyPath: field] = source[keyPath: field]
        case .truth(let field): target[keyPath: field] = source[keyPath: field]
        }
    }

    /// A basic string of TOML.
    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": result += "\\\(scalar)"
            case "\u{0}"..<" ", "\u{7f}":
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }

    /// Sets the value from its text form; the reason when that cannot be.
    func set(_ text: String, in configuration: inout Configuration) -> String? {
        switch kind {
        case .text(let field): configuration[keyPath: field] = text
        case .choice(let field, let choices):
            guard choices.contains(text) else { return "must be one of \(choices.joined(separator: ", "))" }
            configuration[keyPath: field] = text
        case .integer(let field, let range):
            guard let number = Int(text), range.contains(number) else { return Self.outside(range) }
            configuration[keyPath: field] = number
        case .octal(let field, let range):
            guard let number = Int(text, radix: 8), range.contains(number) else {
                return "must be a mode between 0000 and 0777"
            }
            configuration[keyPath: field] = number
        case .milliseconds(let field, let range):
            guard let number = Int(text), range.contains(number) else { return Self.outside(range) }
            configuration[keyPath: field] = .milliseconds(number)
        case .truth(let field):
            guard let truth = Bool(text) else { return "must be true or false" }
            configuration[keyPath: field] = truth
        }
        return nil
    }

    /// What the file must give.
    enum Written: String {
        case string = "a string"
        case number = "a whole number"
        case truth = "true or false"
    }

    var written: Written {
        switch kind {
        case .text, .choice, .octal: .string
        case .integer, .milliseconds: .number
        case .truth: .truth
        }
    }

    private static func outside(_ range: ClosedRange<Int>) -> String {
        "must be a whole number from \(range.lowerBound) to \(range.upperBound)"
    }

    /// The numbers that are limits, by key: what HELLO and Info tell a client.
    package static func limits(of configuration: Configuration) -> [String: UInt64] {
        var limits: [String: UInt64] = [:]
        for setting in all where ["limits.", "queue.", "batch.", "jobs.max_"].contains(where: setting.key.hasPrefix) {
            limits[setting.key] = UInt64(setting.value(in: configuration))
        }
        return limits
    }
}

extension Setting {
    private static let bytes = 65_536...67_108_864
    private static let duration = 1...86_400_000
    private static let durationOrOff = 0...604_800_000

    /// The table, in the order in which it is printed.
    package static let all: [Setting] = [
        Setting("config", .text(\.file), "configuration file"),
        Setting("model.path", flag: "--model", .text(\.modelPath), "model file, mapped while it serves: replace it by renaming, as sae fit does, not by cp; empty: the packaged model"),
        Setting(
            "model.library", flag: "--library", .text(\.modelLibrary),
            "rule library whose promoted generation serves; empty: the model's own rules"),
        Setting("model.name", .text(\.modelName), "name in answers; empty: the name in the model file"),
        Setting(
            "model.scorer", flag: "--scorer", .choice(\.modelScorer, ["auto", "opencl", "blas", "int8", "reference"]),
            "what scores context rules"),
        Setting("model.device", flag: "--device", .text(\.modelDevice), "OpenCL device: auto, its number, or part of its name"),
        Setting("listen.tcp", flag: "--listen", .text(\.listenTCP), "frames over TCP; empty: off"),
        Setting("listen.unix", flag: "--unix", .text(\.listenUnix), "frames over a Unix socket; empty: off"),
        Setting("listen.unix_mode", .octal(\.listenUnixMode, 0...0o777), "mode of the socket file"),
        Setting(
            "http.listen", flag: "--http", .text(\.httpListen),
            "HTTP for livez, readyz, metrics and the APIs; empty: off"),
        Setting("http.max_body_bytes", .integer(\.maximumHTTPBodyBytes, bytes), "larger bodies of HTTP requests are refused"),
        Setting("http.api", .truth(\.httpAPI), "false: only livez, readyz, health, metrics over HTTP"),
        Setting(
            "workers.count", flag: "--workers", .integer(\.workerCount, 0...1_024),
            "worker threads; 0: one for each core"),
        Setting("limits.max_frame_bytes", .integer(\.maximumFrameBytes, bytes), "largest payload accepted"),
        Setting("limits.initial_window", .integer(\.initialWindow, bytes), "window of each half of a streaming call"),
        Setting(
            "limits.max_texts_per_request", .integer(\.maximumTextsPerRequest, 1...1_048_576),
            "texts in one request"),
        Setting("limits.max_chunk_texts", .integer(\.maximumChunkTexts, 1...1_048_576), "texts in one EmbedStream chunk"),
        Setting("limits.max_text_bytes", .integer(\.maximumTextBytes, 1...67_108_864), "bytes of one text"),
        Setting(
            "limits.max_pieces_per_text", .integer(\.maximumPiecesPerText, 1...16_777_216),
            "pieces of one text"),
        Setting(
            "limits.max_similarity_cells", .integer(\.maximumSimilarityCells, 1...16_777_216),
            "rows x columns of a similarity matrix"),
        Setting("limits.max_trace_bytes", .integer(\.maximumTraceBytes, 1...1_048_576), "bytes of a traced text"),
        Setting(
            "limits.max_connections", flag: "--max-connections",
            .integer(\.maximumConnections, 1...1_048_576), "open connections for frames"),
        Setting(
            "limits.max_unauthenticated", .integer(\.maximumUnauthenticated, 1...1_048_576),
            "connections before HELLO; the oldest goes first"),
        Setting(
            "limits.max_streams_per_connection", .integer(\.maximumStreamsPerConnection, 1...65_536),
            "open streams of a connection"),
        Setting(
            "limits.max_streaming_per_connection", .integer(\.maximumStreamingPerConnection, 1...65_536),
            "of which streaming calls"),
        Setting(
            "limits.max_connection_output_bytes", .integer(\.maximumConnectionOutputBytes, 65_536...1 << 32),
            "answers reserved for one connection"),
        Setting(
            "limits.max_buffer_bytes", .integer(\.maximumBufferBytes, 1_048_576...1 << 40),
            "payloads and reservations of all connections"),
        Setting(
            "limits.max_control_frames_per_s", .integer(\.maximumControlFramesPerSecond, 1...1_000_000),
            "CANCEL, CREDIT, PING a connection and second"),
        Setting(
            "limits.default_timeout_ms", .milliseconds(\.defaultTimeout, duration),
            "requests without a timeout"),
        Setting("limits.max_timeout_ms", .milliseconds(\.maximumTimeout, duration), "longer timeouts are cut"),
        Setting("limits.handshake_timeout_ms", .milliseconds(\.handshakeTimeout, duration), "time to HELLO"),
        Setting(
            "limits.frame_timeout_ms", .milliseconds(\.frameTimeout, duration),
            "first to last byte of a frame"),
        Setting("limits.write_stall_ms", .milliseconds(\.writeStall, duration), "no output accepted"),
        Setting(
            "limits.keep_alive_ms", .milliseconds(\.keepAlive, duration), "silence after which a client is asked whether it is there"),
        Setting(
            "limits.keep_alive_timeout_ms", .milliseconds(\.keepAliveTimeout, duration), "time in which it must show that it is"),
        Setting(
            "limits.idle_timeout_ms", .milliseconds(\.idleTimeout, durationOrOff), "no stream open; 0: off"),
        Setting(
            "limits.max_connection_age_ms", .milliseconds(\.maximumConnectionAge, durationOrOff),
            "age of a connection, give or take a tenth; 0: off"),
        Setting("queue.max_texts", .integer(\.queueMaximumTexts, 1...16_777_216), "texts waiting"),
        Setting(
            "queue.max_pieces", .integer(\.queueMaximumPieces, 1...1 << 32), "estimated pieces waiting"),
        Setting("queue.max_wait_ms", .milliseconds(\.queueMaximumWait, duration), "predicted wait"),
        Setting("batch.max_texts", .integer(\.batchMaximumTexts, 1...65_536), "texts a slice"),
        Setting(
            "batch.max_pieces", .integer(\.batchMaximumPieces, 1...16_777_216),
            "estimated pieces a slice; one text may exceed it"),
        Setting(
            "drain.lame_duck_ms", .milliseconds(\.drainLameDuck, 0...600_000),
            "still serving after the first GOAWAY"),
        Setting("drain.grace_ms", .milliseconds(\.drainGrace, 0...3_600_000), "for what is in flight"),
        Setting(
            "watchdog.stall_ms", .milliseconds(\.watchdogStall, 100...600_000),
            "an I/O queue or worker without progress is stuck"),
        Setting(
            "auth.tokens_file", flag: "--tokens", .text(\.tokensFile),
            "tokens as 'sae token' makes them; empty: $CREDENTIALS_DIRECTORY/tokens if it is there, else none"),
        Setting("auth.unix_roles", .text(\.unixRoles), "roles over a Unix socket without a token: embed, jobs, metrics, admin"),
        Setting(
            "tls.certificate", flag: "--tls-cert", .text(\.tlsCertificate),
            "PEM file of the certificate, then those up to an authority: TLS 1.3 on TCP, for frames and HTTP; empty: none"),
        Setting(
            "tls.key", flag: "--tls-key", .text(\.tlsKey),
            "PEM file of its key, which others may not read; empty: $CREDENTIALS_DIRECTORY/tls.key if it is there"),
        Setting(
            "tls.client_ca", flag: "--tls-client-ca", .text(\.tlsClientAuthorities),
            "PEM file of authorities: clients need a certificate of one of them; empty: none is asked for"),
        Setting("tls.plaintext_ok", .truth(\.allowsPlaintext), "other addresses than loopback without TLS; tokens are still needed"),
        Setting("jobs.enabled", .truth(\.jobsEnabled), "false: no corpus jobs"),
        Setting(
            "state.directory", flag: "--state-dir", .text(\.stateDirectory),
            "folder, which must be there, that keeps corpus jobs, in jobs below it"),
        Setting(
            "jobs.input_roots", .text(\.jobsInputRoots),
            "directories, with commas between, below which every client with the role jobs may name a file as input; empty: none"),
        Setting("jobs.concurrency", .integer(\.jobsConcurrency, 1...64), "jobs running at a time"),
        Setting("jobs.chunk_rows", .integer(\.jobsChunkRows, 1...1_048_576), "rows a commit, of new jobs"),
        Setting("jobs.max_queued", .integer(\.jobsMaximumQueued, 1...65_536), "jobs that have not ended"),
        Setting("jobs.max_per_owner", .integer(\.jobsMaximumPerOwner, 1...65_536), "of which one principal's"),
        Setting(
            "jobs.max_ended_per_owner", .integer(\.jobsMaximumEndedPerOwner, 1...65_536),
            "jobs of one principal that have ended; of more the oldest are deleted"),
        Setting("jobs.max_input_bytes", .integer(\.jobsMaximumInputBytes, 1...1 << 50), "input of one job"),
        Setting(
            "jobs.max_disk_bytes", .integer(\.jobsMaximumDiskBytes, 1...1 << 50),
            "inputs and outputs of all jobs"),
        Setting(
            "jobs.min_free_bytes", .integer(\.jobsMinimumFreeBytes, 0...1 << 50),
            "left free on the disk; a job waits while there is less"),
        Setting(
            "jobs.retention_ms", .milliseconds(\.jobsRetention, 1...3_155_760_000_000),
            "ended jobs are kept so long; uploads to which nothing is added, 24 hours"),
        Setting(
            "jobs.stall_timeout_ms", .milliseconds(\.jobsStallTimeout, 1...604_800_000),
            "a job that cannot go on for so long fails"),
        Setting(
            "log.level",
            .choice(\.logLevel, ["trace", "debug", "info", "notice", "warning", "error"]),
            "least level that is written"),
        Setting(
            "log.format", .choice(\.logFormat, ["auto", "journal", "json", "text"]),
            "auto: journal under systemd, text on a terminal, else json"),
        Setting(
            "log.slow_request_ms", .milliseconds(\.logSlowRequest, duration), "event slow_request"),
    ]
}
