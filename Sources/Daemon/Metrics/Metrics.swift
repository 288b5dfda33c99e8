import Synchronization
package import Wire

/// How a request or connection came in, as the label `transport`.
package enum TransportName: Int, CaseIterable, Sendable {
    case tcp, unix, http

    var label: String {
        switch self {
        case .tcp: "tcp"
        case .unix: "unix"
        case .http: "http"
        }
    }
}

/// Every counter and histogram of the daemon. Gauges are not here: they are read from the structure that
/// they describe when somebody asks.
package final class Metrics: Sendable {
    /// The status codes by number, as the label `code`.
    static let codes = [
        "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
        "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
        "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
    ]
    static let refusalLimits = [
        "limits.max_streams_per_connection", "limits.max_connection_output_bytes", "limits.max_buffer_bytes",
        "limits.max_streaming_per_connection", "queue.max_texts", "queue.max_pieces", "queue.max_wait_ms", "state", "other",
    ]
    static let protocolReasons = [
        "bad_magic", "bad_frame", "bad_crc", "flow_control", "frame_too_large", "frame_timeout",
        "handshake_timeout", "control_flood", "unsupported_version", "bad_request", "tls", "other",
    ]
    static let closeReasons =
        ["eof", "reset", "idle", "max_age", "draining", "slow_reader", "evicted", "max_connections", "keep_alive", "unauthenticated"]
        + protocolReasons

    /// What the label `method` may say; nil: a call of none that there is.
    private static let methods = Method.allCases.map(Optional.some) + [nil]

    private let requests = (0..<methods.count * TransportName.allCases.count * codes.count).map { _ in
        Counter()
    }
    private let durations = (0..<methods.count * TransportName.allCases.count).map { _ in
        Histogram.latency()
    }
    package let queueDuration = Histogram.latency()
    package let computeDuration = Histogram.latency()
    package let refusals = LabelledCounter(refusalLimits)
    package let texts = LabelledCounter(["ok", "error", "truncated"])
    package let textsDropped = LabelledCounter(["deadline", "cancel", "disconnect"])
    package let pieces = Counter()
    package let textBytes = Counter()
    package let batchTexts = Histogram.sizes()
    package let requestTexts = Histogram.sizes()
    package let scorerFallbacks = Counter()
    package let cacheLookups = LabelledCounter(["hit", "miss"])
    package let workerBusyNanoseconds = Counter()
    package let connectionsOpened = LabelledCounter(TransportName.allCases.map(\.label))
    package let connectionsClosed = LabelledCounter(closeReasons)
    package let receivedBytes = LabelledCounter(TransportName.allCases.map(\.label))
    package let sentBytes = LabelledCounter(TransportName.allCases.map(\.label))
    package let protocolErrors = LabelledCounter(protocolReasons)
    package let authenticationFailures = LabelledCounter(["token", "role", "certificate", "other"])
    package let logEventsDropped = Counter()
    /// Rows of corpus jobs that are committed.
    package let jobRows = LabelledCounter(["ok", "error"])
    package let jobCommit = Histogram.latency()
    package let reloads = LabelledCounter(["ok", "failed"])
    /// Unix time in seconds; 0 before the first.
    let lastReload = Atomic<Int>(0)

    package init() {}

    private static func series(_ method: Method?, _ transport: TransportName) -> Int {
        (methods.firstIndex(of: method) ?? methods.count - 1) * TransportName.allCases.count + transport.rawValue
    }

    /// Counts a terminal frame; `method` nil: of a call of no method that there is.
    package func requestEnded(_ method: Method?, _ transport: TransportName, code: Int, microseconds: Int) {
        let series = Self.series(method, transport)
        let code = Self.codes.indices.contains(code) ? code : 2
        requests[series * Self.codes.count + code].add()
        durations[series].observe(microseconds)
    }

    /// Terminal frames of `method` so far, over all transports, with this code.
    package func requestCount(_ method: Method?, code: Int) -> UInt64 {
        TransportName.allCases.reduce(0) { total, transport in
            let series = Self.series(method, transport)
            return total + requests[series * Self.codes.count + code].value
        }
    }

    /// Writes counters and histograms in Prometheus' text format 0.0.4.
    func write(to page: inout MetricsPage) {
        page.header("sae_requests_total", "counter", "Terminal frames.")
        eachSeries { labels, series in
            for (code, name) in Self.codes.enumerated() {
                page.line("sae_requests_total", "\(labels),code=\"\(name)\"", requests[series * Self.codes.count + code].value)
            }
        }
        page.header("sae_request_duration_seconds", "histogram", "Header complete to answer queued for the kernel.")
        eachSeries { labels, series in
            page.series("sae_request_duration_seconds", labels, durations[series])
        }
        page.histogram("sae_queue_duration_seconds", "Waiting, a request.", queueDuration)
        page.histogram("sae_compute_duration_seconds", "Computing, a request.", computeDuration)
        page.labelled("sae_refusals_total", "limit", "Admission refusals.", refusals)
        page.labelled("sae_texts_total", "outcome", "Rows answered.", texts)
        page.labelled("sae_texts_dropped_total", "reason", "Texts admitted and never answered.", textsDropped)
        page.counter("sae_pieces_total", "Pieces computed.", pieces.value)
        page.counter("sae_text_bytes_total", "Bytes of text computed.", textBytes.value)
        page.histogram("sae_batch_texts", "Texts a slice.", batchTexts)
        page.histogram("sae_request_texts", "Texts a request.", requestTexts)
        page.labelled("sae_piece_cache_lookups_total", "result", "Look-ups in the word cache.", cacheLookups)
        page.counter("sae_scorer_fallbacks_total", "Scorers given up for the CPU's.", scorerFallbacks.value)
        page.header("sae_worker_busy_seconds_total", "counter", "Time that workers computed.")
        page.line("sae_worker_busy_seconds_total", "", Double(workerBusyNanoseconds.value) * 1e-9)
        page.labelled("sae_connections_total", "transport", "Connections accepted.", connectionsOpened)
        page.labelled("sae_connections_closed_total", "reason", "Connections ended.", connectionsClosed)
        page.labelled("sae_received_bytes_total", "transport", "Bytes received.", receivedBytes)
        page.labelled("sae_sent_bytes_total", "transport", "Bytes sent.", sentBytes)
        page.labelled("sae_protocol_errors_total", "reason", "Violations that ended a connection.", protocolErrors)
        page.labelled("sae_auth_failures_total", "reason", "Refused for what was offered to prove who asks.", authenticationFailures)
        page.labelled("sae_reloads_total", "result", "Reloads.", reloads)
        page.gauge(
            "sae_last_reload_success_timestamp_seconds", "Unix time of the last reload; 0 before the first.",
            lastReload.load(ordering: .relaxed))
        page.labelled("sae_job_rows_total", "outcome", "Rows of corpus jobs committed.", jobRows)
        page.histogram("sae_job_commit_duration_seconds", "Writing a chunk of a job to the disk.", jobCommit)
        page.counter("sae_log_events_dropped_total", "Log events that found a full queue.", logEventsDropped.value)
    }

    private func eachSeries(_ body: (String, Int) -> Void) {
        for method in Self.methods {
            for transport in TransportName.allCases {
                let labels = "method=\"\(method?.name ?? "unknown")\",transport=\"\(transport.label)\""
                body(labels, Self.series(method, transport))
            }
        }
    }
}

/// A page of Prometheus' text format as it grows.
package struct MetricsPage {
    package private(set) var text = ""

    package init() {}

    /// Labels as they stand between braces, values escaped.
    package static func labels(_ pairs: [(String, String)]) -> String {
        pairs.map { name, value in
            let escaped = value.flatMap { character -> String in
                switch character {
                case "\\": "\\\\"
                case "\"": "\\\""
                case "\n": "\\n"
                default: String(character)
                }
            }
            return "\(name)=\"\(String(escaped))\""
        }.joined(separator: ",")
    }

    package mutating func header(_ name: String, _ type: String, _ help: String) {
        text += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
    }

    package mutating func line(_ name: String, _ labels: String, _ value: some CustomStringConvertible) {
        text += labels.isEmpty ? "\(name) \(value)\n" : "\(name){\(labels)} \(value)\n"
    }

    package mutating func counter(_ name: String, _ help: String, _ value: UInt64) {
        header(name, "counter", help)
        line(name, "", value)
    }

    package mutating func gauge(
        _ name: String, _ help: String, labels: String = "", _ value: some CustomStringConvertible
    ) {
        header(name, "gauge", help)
        line(name, labels, value)
    }

    mutating func labelled(_ name: String, _ label: String, _ help: String, _ counter: LabelledCounter) {
        header(name, "counter", help)
        for value in counter.names { line(name, "\(label)=\"\(value)\"", counter[value].value) }
    }

    mutating func histogram(_ name: String, _ help: String, _ histogram: Histogram) {
        header(name, "histogram", help)
        series(name, "", histogram)
    }

    mutating func series(_ name: String, _ labels: String, _ histogram: Histogram) {
        let (cumulative, sum) = histogram.snapshot()
        let prefix = labels.isEmpty ? "" : labels + ","
        for (bound, count) in zip(histogram.bounds, cumulative) {
            line("\(name)_bucket", "\(prefix)le=\"\(Double(bound) * histogram.unit)\"", count)
        }
        line("\(name)_bucket", "\(prefix)le=\"+Inf\"", cumulative[histogram.bounds.count])
        line("\(name)_sum", labels, Double(sum) * histogram.unit)
        line("\(name)_count", labels, cumulative[histogram.bounds.count])
    }
}
