import SAEClient

/// Shows a job until it ends.
enum JobProgress {
    /// The job when it is done.
    ///
    /// - Throws: `CorpusError.jobEnded` for one that failed or was cancelled.
    static func watch(_ id: String, _ client: Client) async throws -> Job {
        var bar: ProgressBar?
        var last: Job?
        for try await job in client.updates(of: id) {
            last = job
            var shown = bar ?? ProgressBar(title: "job \(id)", total: Int(job.inputBytes), unit: "bytes")
            shown.update(done: Int(job.inputDone), note: note(job))
            bar = shown
        }
        bar?.finish()
        guard let last else { throw CorpusError.jobEnded(id: id, state: "is not known any more", reason: "") }
        guard last.state == .done else {
            throw CorpusError.jobEnded(id: id, state: last.state == .failed ? "failed" : "was cancelled", reason: last.failure)
        }
        return last
    }

    /// State and counts in a few words.
    static func note(_ job: Job) -> String {
        if !job.stall.isEmpty { return "waiting: \(job.stall)" }
        switch job.state {
        case .queued: return job.queuePlace == 0 ? "next" : "\(job.queuePlace) jobs before it"
        case .running: return "\(job.rowCount) rows, \(Int(job.rowsPerSecond))/s" + (job.failedRowCount > 0 ? ", \(job.failedRowCount) without a vector" : "")
        default: return "\(job.state)"
        }
    }
}
