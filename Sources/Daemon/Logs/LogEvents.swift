import Logging

/// Every event that the daemon logs, with its level. The message is the event's own static text; facts are
/// metadata, under the keys of `LogKey`. A user's text is neither.
package enum Event: String, CaseIterable, Sendable {
    case startup, listen, ready, reload
    case generationChanged = "generation_changed"
    case reloadFailed = "reload_failed"
    case listenSkipped = "listen_skipped"
    case drainBegin = "drain_begin"
    case drainEnd = "drain_end"
    case shutdown
    case refused
    case slowRequest = "slow_request"
    case protocolError = "protocol_error"
    case authenticationFailed = "auth_failed"
    case slowReader = "slow_reader"
    case descriptorLimit = "fd_limit"
    case watchdogLag = "watchdog_lag"
    case scorerFallback = "scorer_fallback"
    case internalError = "internal"
    case jobState = "job_state"
    case jobRecovered = "job_recovered"
    case jobStalled = "job_stalled"
    case jobFailed = "job_failed"
    case jobDeleted = "job_deleted"
    case jobGeneration = "job_generation"
    case jobsUnavailable = "jobs_unavailable"
    case connectionOpen = "connection_open"
    case connectionClose = "connection_close"
    case request

    var level: Logger.Level {
        switch self {
        case .startup, .listen, .ready, .reload, .generationChanged, .drainBegin, .drainEnd, .shutdown, .jobState, .jobRecovered,
            .jobDeleted, .jobGeneration: .info
        case .refused, .slowRequest, .protocolError, .authenticationFailed, .slowReader: .notice
        case .reloadFailed, .listenSkipped, .descriptorLimit, .watchdogLag, .scorerFallback, .jobStalled, .jobsUnavailable: .warning
        case .internalError, .jobFailed: .error
        case .connectionOpen, .connectionClose, .request: .debug
        }
    }

    var message: Logger.Message {
        switch self {
        case .startup: "starting"
        case .listen: "listening"
        case .listenSkipped: "not listening on the default Unix socket: --unix gives another place"
        case .ready: "ready to serve"
        case .reload: "settings and model read again"
        case .generationChanged: "another generation serves"
        case .reloadFailed: "the reload failed: everything is as it was"
        case .drainBegin: "draining"
        case .drainEnd: "drained"
        case .shutdown: "stopped"
        case .refused: "request refused"
        case .slowRequest: "slow request"
        case .protocolError: "connection ended for a violation of the protocol"
        case .authenticationFailed: "not let in, or not allowed what was asked"
        case .slowReader: "connection ended because its peer does not read"
        case .descriptorLimit: "fewer connections than configured: the descriptor limit is low"
        case .watchdogLag: "an I/O queue or worker does not advance"
        case .scorerFallback: "the scorer was given up: the CPU takes over"
        case .internalError: "internal error"
        case .jobState: "a corpus job is in another state"
        case .jobRecovered: "a corpus job that was under way at the last stop goes on"
        case .jobStalled: "a corpus job cannot go on for the moment"
        case .jobFailed: "a corpus job failed"
        case .jobGeneration: "a corpus job goes on with the generation that it began with, which serves no more"
        case .jobDeleted: "a corpus job that nobody has come for is deleted"
        case .jobsUnavailable: "no corpus jobs: their folder cannot be used"
        case .connectionOpen: "connection opened"
        case .connectionClose: "connection closed"
        case .request: "request ended"
        }
    }

    /// Most events of this kind a second; the rest is counted and told with the next one.
    var perSecond: Int {
        switch self {
        case .refused: 1
        case .slowRequest, .protocolError, .authenticationFailed, .slowReader, .watchdogLag: 10
        default: .max
        }
    }
}

/// The metadata keys that a record may carry.
package enum LogKey: String, Sendable {
    case conn, stream, method, peer, transport, code, limit, texts, bytes, generation, reason, job, state, count, endpoint, version, changed
    case needsRestart = "needs_restart"
    case requestID = "request_id"
    case queueMicroseconds = "queue_us"
    case computeMicroseconds = "compute_us"
}
