import Bytes
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
    /// Of a load that verifies: answers whose bits differ from the first of the same generation to the same texts.
    package fileprivate(set) var differing = 0
    /// Of a load that verifies: the generations that were seen, ascending.
    package fileprivate(set) var generations: [GenerationSeen] = []
    /// The first error that is neither refusal nor lateness.
    package fileprivate(set) var firstFailure: ClientError?

    package var textsPerSecond: Double { Double(texts) / elapsed.seconds }
}

/// A generation that answered requests of a load.
package struct GenerationSeen: Sendable, Equatable {
    package let generation: UInt64
    /// Its answers.
    package let answered: Int
    /// CRC-32C of the CRC-32Cs of its answers to each request in order: equal for equal vectors. Nil if it did not answer each.
    package let digest: UInt32?
}

/// Where the connections of a load report to.
final class LoadRecorder: Sendable {
    private let state = Mutex(LoadReport())
    private let seen = Mutex<[UInt64: (answered: Int, checksums: [UInt32?])]>([:])
    /// How many different requests there are; 0 if none is verified.
    private let requestCount: Int

    init(requestCount: Int) { self.requestCount = requestCount }

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

    /// The checksum of an answer.
    func saw(_ crc: UInt32, of request: Int, generation: UInt64) {
        let isSame = seen.withLock { seen in
            var entry = seen.removeValue(forKey: generation) ?? (0, Array(repeating: nil, count: requestCount))
            entry.answered += 1
            let first = entry.checksums[request]
            if first == nil { entry.checksums[request] = crc }
            seen[generation] = entry
            return first == nil || first == crc
        }
        if !isSame { state.withLock { $0.differing += 1 } }
    }

    func skipped() { state.withLock { $0.unsent += 1 } }

    func report(elapsed: Duration) -> LoadReport {
        var report = state.withLock { $0 }
        report.elapsed = elapsed
        report.generations = seen.withLock { $0 }.sorted { $0.key < $1.key }.map { generation, entry in
            var writer = ByteWriter()
            let checksums = entry.checksums.compactMap { $0 }
            for crc in checksums { writer.append(crc) }
            let digest = writer.bytes.withUnsafeBytes { crc32c($0) }
            return GenerationSeen(
                generation: generation, answered: entry.answered,
                digest: checksums.count == entry.checksums.count ? digest : nil)
        }
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
