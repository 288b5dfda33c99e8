import Bytes
import CPosix
import Dispatch
import Encryption
import Synchronization
import Transport
import Wire

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
        let counts = openCounts()
        page.header("sae_connections", "gauge", "Connections open.")
        for transport in TransportName.allCases {
            page.line("sae_connections", "transport=\"\(transport.label)\"", counts.connections[transport] ?? 0)
        }
        page.header("sae_streams", "gauge", "Requests under way.")
        for transport in TransportName.allCases {
            page.line("sae_streams", "transport=\"\(transport.label)\"", counts.streams[transport] ?? 0)
        }
        page.header("sae_requests_in_flight", "gauge", "Requests under way, by method.")
        for method in Method.allCases {
            page.line("sae_requests_in_flight", "method=\"\(method.name)\"", counts.calls[method] ?? 0)
        }
        writeJobs(to: &page)
        page.gauge(
            "sae_watchdog_lag_seconds", "Since the slowest queue, event loop or worker advanced.", Double(lag.nanoseconds) * 1e-9)
        page.gauge(
            "sae_tls_certificate_expiry_timestamp_seconds", "Unix time until which the certificate is valid; 0 without one.",
            serving.encryption?.expiry ?? 0)
        ProcessMetrics.write(to: &page)
        return page.text
    }

    /// What is open, without the part of lanes that are stuck, of which `sae_watchdog_lag_seconds` tells.
    private func openCounts() -> OpenCounts {
        let gathered = GatheredCounts()
        let group = DispatchGroup()
        for lane in lanes {
            group.enter()
            lane.ioQueue.async {
                let counts = lane.counts()
                gathered.all.withLock { $0.add(counts) }
                group.leave()
            }
        }
        _ = group.wait(timeout: .now() + .milliseconds(250))
        var counts = gathered.all.withLock { $0 }
        if let http = operations.withLock({ $0?.connections }) { counts.add(http.counts) }
        return counts
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
private final class GatheredCounts: Sendable {
    let all = Mutex(OpenCounts())
}
