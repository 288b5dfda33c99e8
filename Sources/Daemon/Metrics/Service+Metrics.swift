import Bytes
import CPosix
import Dispatch
import Encryption
import Synchronization
import Transport

extension Service {
    /// The page of `/metrics`: counters, and gauges computed now from what they describe.
    package func metricsPage() -> String {
        var page = MetricsPage()
        let generation = String(methods.generation, radix: 16)
        let build = [("version", Version.current), ("revision", String(cString: sae_revision()))]
        page.gauge("sae_build_info", "What runs.", labels: MetricsPage.labels(build), 1)
        let model = [
            ("generation", generation), ("digest", hexadecimal(methods.digest)), ("model", methods.modelName),
        ]
        page.gauge("sae_generation_info", "What serves.", labels: MetricsPage.labels(model), 1)
        let scorer = methods.scorer
        page.gauge(
            "sae_scorer_info", "What scores context rules.",
            labels: MetricsPage.labels([("scorer", scorer.name), ("device", scorer.device)]), 1)
        page.gauge("sae_ready", "As /readyz.", state == .serving ? 1 : 0)
        page.gauge("sae_draining", "Between SIGTERM and the end.", state == .lameDuck || state == .draining ? 1 : 0)
        metrics.write(to: &page)
        let load = scheduler.current
        page.gauge("sae_queue_texts", "Texts waiting.", load.texts)
        page.gauge("sae_queue_pieces", "Estimated pieces waiting.", load.pieces)
        let wait = Double(admission.predictedWait.nanoseconds) * 1e-9
        page.gauge("sae_queue_wait_seconds", "Predicted wait of a new request.", wait)
        page.gauge("sae_workers", "Worker threads.", workers.count)
        page.gauge("sae_buffer_bytes", "Payloads, reservations and unsent output.", bufferedBytes)
        var counts: [TransportName: (connections: Int, streams: Int)] = [:]
        for (transport, count) in countsOfLanes() {
            let before = counts[transport] ?? (0, 0)
            counts[transport] = (before.connections + count.connections, before.streams + count.streams)
        }
        counts[.http] = operations.withLock { server in
            server.map { ($0.connections.openCount, $0.connections.busyCount) }
        }
        page.header("sae_connections", "gauge", "Connections open.")
        for transport in TransportName.allCases {
            page.line("sae_connections", "transport=\"\(transport.label)\"", counts[transport]?.connections ?? 0)
        }
        page.header("sae_streams", "gauge", "Requests under way.")
        for transport in TransportName.allCases {
            page.line("sae_streams", "transport=\"\(transport.label)\"", counts[transport]?.streams ?? 0)
        }
        writeJobs(to: &page)
        let now = monotonicNanoseconds()
        let oldest = lanes.map { now - min(now, $0.ioQueue.lastTurnNanoseconds) }.max() ?? 0
        let lag = max(oldest, workers.longestSlice(now).nanoseconds)
        page.gauge("sae_watchdog_lag_seconds", "Since the slowest queue or worker advanced.", Double(lag) * 1e-9)
        page.gauge(
            "sae_tls_certificate_expiry_timestamp_seconds", "Unix time until which the certificate is valid; 0 without one.",
            serving.encryption?.expiry ?? 0)
        ProcessMetrics.write(to: &page)
        return page.text
    }

    /// What the lanes count, without those that are stuck: their part is missing, and `sae_watchdog_lag_seconds` tells of them.
    private func countsOfLanes() -> [(TransportName, (connections: Int, streams: Int))] {
        let gathered = LaneCounts()
        let group = DispatchGroup()
        for lane in lanes {
            group.enter()
            lane.ioQueue.async {
                let counts = lane.counts()
                gathered.all.withLock { $0 += counts.map { ($0.key, $0.value) } }
                group.leave()
            }
        }
        _ = group.wait(timeout: .now() + .milliseconds(250))
        return gathered.all.withLock { $0 }
    }

    private func writeJobs(to page: inout MetricsPage) {
        let states = jobs.all.map { job in job.read { ($0.record.phase, $0.stall) } }
        page.header("sae_jobs", "gauge", "Corpus jobs.")
        for phase in JobPhase.allCases {
            page.line("sae_jobs", "state=\"\(phase.label)\"", states.count { $0.0 == phase })
        }
        page.header("sae_job_stalled", "gauge", "Corpus jobs that cannot go on for the moment.")
        page.line("sae_job_stalled", "reason=\"disk\"", states.count { !$0.1.isEmpty })
        page.gauge("sae_job_disk_bytes", "Inputs and outputs of corpus jobs, those to come among them.", jobs.diskBytes)
    }
}

/// Where the lanes put what they count, also those that come too late.
private final class LaneCounts: Sendable {
    let all = Mutex<[(TransportName, (connections: Int, streams: Int))]>([])
}
