package import SAEClient
import Synchronization

/// What became of the requests of a load.
package struct LoadReport: Sendable {
    /// Requests that were answered, and the texts that got a vector.
    package fileprivate(set) var answered = 0
    package fileprivate(set) var texts = 0
    /// Refused at once: overload or drain.
    package fileprivate(set) var refused = 0
    /// Not answered in the time that they were given.
    package fileprivate(set) var late = 0
    package fileprivate(set) var failed = 0
    /// Due, and not sent because too many were under way.
    package fileprivate(set) var unsent = 0
    package fileprivate(set) var elapsed = Duration.zero
    /// From when a request was due to its answer, or its refusal.
    package fileprivate(set) var latencies = LatencyHistogram()
    package fileprivate(set) var refusalLatencies = LatencyHistogram()
    /// From when a request was due to when it was sent: the generator's own part.
    package fileprivate(set) var lags = LatencyHistogram()
    /// The first error that is neither refusal nor lateness.
    package fileprivate(set) var firstFailure: ClientError?

    package var textsPerSecond: Double { Double(texts) / elapsed.seconds }
}

/// Where the connections of a load report to.
final class LoadRecorder: Sendable {
    private let state = Mutex(LoadReport())

    func answered(_ textCount: Int, due: ContinuousClock.Instant, sent: ContinuousClock.Instant) {
        let latency = due.duration(to: .now)
        state.withLock { report in
            report.answered += 1
            report.texts += textCount
            report.latencies.record(latency)
            report.lags.record(due.duration(to: sent))
        }
    }

    func failed(_ error: ClientError, due: ContinuousClock.Instant, sent: ContinuousClock.Instant) {
        let latency = due.duration(to: .now)
        state.withLock { report in
            report.lags.record(due.duration(to: sent))
            if error.isRefused {
                report.refused += 1
                report.refusalLatencies.record(latency)
            } else if error.code == .deadlineExceeded {
                report.late += 1
            } else {
                report.failed += 1
                report.firstFailure = report.firstFailure ?? error
            }
        }
    }

    func skipped() { state.withLock { $0.unsent += 1 } }

    func report(elapsed: Duration) -> LoadReport {
        var report = state.withLock { $0 }
        report.elapsed = elapsed
        return report
    }
}

extension LatencyHistogram {
    mutating func record(_ duration: Duration) { record(UInt64(max(0, duration.seconds) * 1e9)) }
}

extension Duration {
    package var seconds: Double {
        let (seconds, attoseconds) = components
        return Double(seconds) + Double(attoseconds) * 1e-18
    }
}
