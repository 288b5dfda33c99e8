import Dispatch

/// Which jobs run.
extension JobStore {
    /// Begins what may begin. On any thread.
    func startNext() {
        queue.async { [self] in
            while let job = claimNext() {
                runs.enter()
                DispatchQueue(label: "sae.job.run").async { [self] in
                    JobRun(job, of: self).run()
                    with { _ = $0.running.remove(job.id) }
                    note(job)
                    runs.leave()
                    startNext()
                }
            }
        }
    }

    /// The next job, by then running: fair between owners, first come first served within one. One that was under way at the last
    /// stop comes first. On `queue`, so that nobody else claims meanwhile.
    private func claimNext() -> Job? {
        let (isStopping, running, lastStart) = with { ($0.isStopping, $0.running.count, $0.lastStart) }
        guard !isStopping, running < service.configuration.jobsConcurrency else { return nil }
        let queued = all.filter { $0.phase == .queued }
        func turn(_ job: Job) -> Int { job.record.started > 0 ? -1 : lastStart[job.owner] ?? 0 }
        guard let job = queued.min(by: { (turn($0), $0.id) < (turn($1), $1.id) }) else { return nil }
        let isClaimed = job.change { state in
            guard state.record.phase == .queued else { return false }
            state.record.phase = .running
            state.changes += 1
            return true
        }
        // Cancelled this moment: the next one.
        guard isClaimed else { return claimNext() }
        with { contents in
            contents.starts += 1
            contents.lastStart[job.owner] = contents.starts
            contents.running.insert(job.id)
        }
        return job
    }

    /// Ends the runs: the chunk that is being written is committed, the others are dropped. Blocks until all have ended; another
    /// daemon may then have the folder.
    func stop() {
        with { $0.isStopping = true }
        for job in all { job.wakeup.signal() }
        queue.sync {}
        runs.wait()
        release()
    }
}
