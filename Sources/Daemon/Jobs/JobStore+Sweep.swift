import CSystemd  // its headers bring timespec
import Dispatch
import Glibc
import Wire

/// Clears away what nobody has come for: jobs that ended more than `jobs.retention_ms` ago, the oldest of too many that ended, and
/// uploads to which nothing was added for `uploadPatience`.
///
/// Ages are by the wall clock, because they last over restarts. A job goes only when two sweeps, an hour of the monotonic clock
/// apart, find it expired, so that a clock that is wrong for a moment deletes nothing.
extension JobStore {
    static let uploadPatience = Duration.seconds(24 * 3_600)

    /// Between two sweeps: an hour, or `jobs.retention_ms` where that is shorter, but no less than 100 ms.
    private var sweepPause: Duration { max(.milliseconds(100), min(.seconds(3_600), service.configuration.jobsRetention)) }

    /// Sweeps now, and again after each pause until the jobs stop. On any thread, once.
    func beginSweeps() {
        queue.async { [weak self] in
            guard let self, isServing, !isStopping else { return }
            for job in all { sweep(job) }
            queue.asyncAfter(deadline: .now() + .milliseconds(sweepPause.milliseconds)) { [weak self] in self?.beginSweeps() }
        }
    }

    private func sweep(_ job: Job) {
        let isExpired = reasonToDelete(job) != nil
        let wasExpired = job.change { state in
            defer { state.isExpired = isExpired }
            return state.isExpired
        }
        guard isExpired, wasExpired else { return }
        job.queue.async { [self] in
            // The owner may have deleted it, or gone on with the upload, this moment.
            guard !isStopping, with({ $0.jobs[job.id] === job }), let reason = reasonToDelete(job) else { return }
            // Those who watch or upload hear of it. On the disk the job goes at once, which needs no room.
            let hadEnded = job.change { state in
                defer { if !state.record.phase.hasEnded { (state.record.phase, state.changes) = (.cancelled, state.changes + 1) } }
                return state.record.phase.hasEnded
            }
            if !hadEnded { note(job) }
            job.afterRecording { forget(job) }
            service.log.write(.jobDeleted, [.job: job.id, .reason: reason])
        }
    }

    /// Deletes the oldest ended jobs of an owner who has more of them than `jobs.max_ended_per_owner`.
    func sweepSurplus(of owner: String) {
        let ended = all.filter { $0.owner == owner && $0.phase.hasEnded }
        let surplus = ended.count - service.configuration.jobsMaximumEndedPerOwner
        guard surplus > 0 else { return }
        for job in ended.sorted(by: { $0.record.ended < $1.record.ended }).prefix(surplus) {
            job.queue.async { [self] in
                guard !isStopping, with({ $0.jobs[job.id] === job }) else { return }
                job.afterRecording { forget(job) }
                service.log.write(.jobDeleted, [.job: job.id, .reason: "its owner has more than jobs.max_ended_per_owner"])
            }
        }
    }

    /// Nil while the job is to stay.
    private func reasonToDelete(_ job: Job) -> String? {
        let record = job.record
        let now = wallClockMilliseconds()
        if record.phase.hasEnded {
            let kept = Int64(service.configuration.jobsRetention.milliseconds)
            return now - record.ended > kept ? "it ended longer ago than jobs.retention_ms" : nil
        }
        guard record.phase == .uploading else { return nil }
        var status = stat()
        guard stat(job.inputPath, &status) == 0 else { return nil }
        let written = Int64(status.st_mtim.tv_sec) * 1_000
        return now - written > Int64(Self.uploadPatience.milliseconds) ? "nothing was uploaded for 24 hours" : nil
    }
}
