import Bytes
import Corpora
import Diagnostics
import Dispatch
import Glibc
import SAEEngine
import Transport
import Wire

/// One job from its claim to its end, or to the daemon's: reads, has computed, commits. Blocks its queue.
final class JobRun {
    private struct Ended: Error { var failure: Failure? }

    private let job: Job
    private let store: JobStore
    private let workbench: JobWorkbench
    private var service: Service { store.service }
    private var generation: Generation?
    private var paths: CorpusPaths
    private var plan: CorpusPlan
    private var began = monotonicNanoseconds()

    /// Chunks that are computed ahead of the one that is being written.
    private static let ahead = 4

    init(_ job: Job, of store: JobStore) {
        self.job = job
        self.store = store
        workbench = JobWorkbench(store.service)
        plan = job.record.plan
        paths = CorpusPaths(folder: job.folder, plan)
    }

    func run() {
        do {
            try begin()
            store.note(job)
            if !job.record.isComputed { try compute() }
            try finish()
        } catch let ended as Ended {
            end(ended.failure)
        } catch {
            end(Failure(.internal, "the job ended for an unknown reason"))
        }
    }

    private func end(_ failure: Failure?) {
        if store.isStopping && !job.isCancelled && failure == nil { return }
        let phase = failure == nil ? JobPhase.cancelled : .failed
        let problem = failure.map { JobRecord.Problem(code: $0.code.rawValue, message: $0.message, limit: $0.limit) }
        job.end(as: phase, problem)
    }

    /// Fixes what computes the job, at its first start, or finds that again.
    private func begin() throws {
        guard !job.record.isComputed else { return }
        if job.record.generation == 0 {
            let serving = service.serving.generation
            let engine = serving.engine
            job.change { state in
                state.record.generation = engine.generation
                state.record.generationDigest = hexadecimal(engine.digest)
                state.record.dimensions = state.record.spec.dimensions == 0 ? engine.dimensions : state.record.spec.dimensions
            }
            generation = serving
        } else {
            generation = try generationOfBefore()
        }
        job.change { if $0.record.started == 0 { $0.record.started = wallClockMilliseconds() } }
        plan = job.record.plan
        paths = CorpusPaths(folder: job.folder, plan)
        if job.record.spec.path != nil, job.record.inputDigest.isEmpty { try measureInput() }
        try untilDone { try self.job.save() }
    }

    /// The input from its first byte on: uploaded, or a file of the machine that is still what it was.
    private func openInput() throws -> FileDescriptor {
        let record = job.record
        guard let path = record.spec.path else {
            return try untilDone("the input cannot be read") { try FileDescriptor(self.job.inputPath, flags: O_RDONLY) }
        }
        do throws(Failure) {
            let file = try JobInput.open(path, below: store.inputRoots)
            guard try JobInput.identity(of: file) == record.inputFile else {
                throw Failure(.failedPrecondition, "the input has changed since the job was made")
            }
            return file
        } catch { throw Ended(failure: error) }
    }

    /// What an upload is asked at its end: digest and lines of the input, and room for what they give.
    private func measureInput() throws {
        let file = try openInput()
        let record = job.record
        let found: (digest: [UInt8], lines: Int)?
        do throws(FileError) {
            found = try JobInput.measure(file, count: record.inputBytes) { [job, store] in store.isStopping || job.isCancelled }
        } catch { throw Ended(failure: Failure(error, of: "the input cannot be read")) }
        guard let found else { throw Ended() }
        do throws(Failure) {
            try JobInput.check(lines: found.lines)
            job.change { state in
                state.record.inputDigest = hexadecimal(found.digest)
                state.record.inputRows = found.lines
            }
            try store.checkDisk(adding: 0)
        } catch { throw Ended(failure: error) }
    }

    /// The generation that the job began with. Where another serves by now, it is opened beside that one, for as long as the job runs.
    private func generationOfBefore() throws -> Generation {
        let (serving, record) = (service.serving, job.record)
        let name = String(record.generation, radix: 16)
        guard serving.engine.generation != record.generation else { return serving.generation }
        func failed(_ reason: String) -> Ended {
            Ended(
                failure: Failure(
                    .failedPrecondition, "the job began with generation \(name), \(reason): submit it again"))
        }
        let engine: Engine?
        do {
            engine = try service.source?.earlier(serving.configuration, bytes(ofHexadecimal: record.generationDigest))
            try engine?.selfTest()
        } catch {
            let reason = (error as? any UserFacingError)?.summary ?? String(describing: error)
            service.log.write(.jobFailed, [.job: job.id, .generation: name, .reason: reason])
            throw failed("which cannot be opened any more")
        }
        guard let engine else { throw failed("which neither model.path nor model.library has any more") }
        guard engine.generation == record.generation else { throw failed("of whose rules this daemon's scorer makes other bits") }
        service.log.write(.jobGeneration, [.job: job.id, .generation: name])
        return Generation(engine, number: 0)
    }

    private func compute() throws {
        guard let generation else { return }
        var output = try untilDone { try CorpusOutput(self.plan, at: self.paths, mode: 0o600) { self.store.isStopping } }
        if !output.recovery.isEmpty {
            let cut = output.recovery
            service.log.write(
                .jobRecovered, [.job: job.id, .bytes: String(cut.rowBytes + cut.errorBytes), .count: String(cut.records)])
        }
        show(output, isCommit: false)
        var reader = CorpusReader(try openInput(), size: job.record.inputBytes, plan: plan, after: output.last)
        var calls: [JobCall] = []
        defer { for call in calls { workbench.stop(call) } }
        while true {
            while calls.count <= Self.ahead, let chunk = try nextChunk(&reader) {
                guard let texts = TextBatch(bytes: chunk.texts, lengths: chunk.lengths) else {
                    throw Ended(failure: Failure(.internal, "the texts of a chunk are as long as they are"))
                }
                let call = JobCall(
                    chunk, texts: texts, plan, by: generation, wanted: job.record.generation, on: workbench)
                calls.append(call)
                workbench.begin(call)
            }
            guard let call = calls.first else { break }
            let rows = try rows(of: call)
            calls.removeFirst()
            try checkGoesOn()
            if job.record.spec.failOnError, let failure = rows.firstFailure {
                throw Ended(failure: Failure(.invalidArgument, "row \(failure.row): \(failure.reason.message)"))
            }
            output = try commit(call.chunk, rows, to: output)
            show(output, isCommit: true)
        }
        if job.record.spec.path != nil { _ = try openInput() }
    }

    private func nextChunk(_ reader: inout CorpusReader) throws -> CorpusChunk? {
        do throws(FileError) { return try reader.next() } catch {
            throw Ended(failure: Failure(error, of: "the input cannot be read"))
        }
    }

    private func rows(of call: JobCall) throws -> CorpusRows {
        do throws(Failure) {
            guard let rows = try call.rows() else { throw Failure(.cancelled, "") }
            return rows
        } catch {
            if error.code == .cancelled { throw Ended() }
            let isOther = error.code == .failedPrecondition
            throw Ended(failure: isOther ? Failure(.failedPrecondition, "the scorer that the job began with failed") : error)
        }
    }

    private func commit(_ chunk: CorpusChunk, _ rows: CorpusRows, to output: CorpusOutput) throws -> CorpusOutput {
        var output = output
        let committed = output.chunkCount
        var isFresh = true
        let start = monotonicNanoseconds()
        try untilDone {
            guard self.store.freeBytes >= self.service.configuration.jobsMinimumFreeBytes else {
                throw FileError.system(operation: "write", path: self.paths.folder, errno: ENOSPC)
            }
            // After a failure the files are opened anew, and what was not committed for certain is cut off.
            if !isFresh { output = try CorpusOutput(self.plan, at: self.paths, keeping: committed, mode: 0o600) }
            isFresh = false
            try output.commit(chunk, rows)
        }
        service.metrics.jobCommit.observe(Int((monotonicNanoseconds() - start) / 1_000))
        service.metrics.jobRows[0].add(chunk.rowCount - rows.failedCount)
        service.metrics.jobRows[1].add(rows.failedCount)
        return output
    }

    /// Tells what of the job is done, and after a commit how fast.
    private func show(_ output: CorpusOutput, isCommit: Bool) {
        let seconds = Double(monotonicNanoseconds() - began) * 1e-9
        job.change { state in
            let done = output.rowCount - state.progress.rows
            state.progress = Job.Progress(
                input: output.last?.inputEnd ?? 0, rows: output.rowCount, failed: output.failedCount, chunks: output.chunkCount)
            guard isCommit, seconds > 0 else { return }
            let rate = Double(done) / seconds
            state.rowsPerSecond = state.rowsPerSecond == 0 ? rate : state.rowsPerSecond * 0.7 + rate * 0.3
        }
        began = monotonicNanoseconds()
    }

    private func finish() throws {
        let progress = job.read(\.progress)
        try checkGoesOn()
        let isFinalizing = try untilDone {
            try self.job.enter(.finalizing, from: [.running]) { record in
                guard !record.isComputed else { return }
                record.isComputed = true
                record.rows = progress.rows
                record.failedRows = progress.failed
                record.chunks = progress.chunks
            }
        }
        guard isFinalizing else { throw Ended() }
        store.note(job)
        let finish = CorpusFinish(plan, at: paths, rowCount: job.record.rows)
        let files = try untilDone { try finish.seal { self.store.isStopping } }
        let manifest = try untilDone { try JobManifest.write(for: self.job, files) }
        try untilDone { try finish.publish() }
        _ = try untilDone {
            try self.job.enter(.done, from: [.finalizing]) { record in
                record.files = files + [manifest]
                record.ended = wallClockMilliseconds()
            }
        }
    }

    private func checkGoesOn() throws {
        if store.isStopping || job.isCancelled { throw Ended() }
    }

    /// Repeats `step` while the disk does not take it, until that has lasted for `jobs.stall_timeout_ms`. `problem`: what is said then.
    private func untilDone<R: ~Copyable>(_ problem: String = "the output cannot be written", _ step: () throws -> R) throws -> R {
        let start = monotonicNanoseconds()
        while true {
            do {
                let result = try step()
                job.change { state in
                    if !state.stall.isEmpty { state.changes += 1 }
                    state.stall = ""
                }
                return result
            } catch let error as FileError {
                try stall(for: error, problem, since: start)
            }
        }
    }

    /// What a disk or a system may have recovered from by the next look; a file that is missing or forbidden stays so.
    private static let passing: Set<Int32> = [ENOSPC, EDQUOT, EFBIG, EIO, EROFS, ENOMEM, EMFILE, ENFILE, EAGAIN, EINTR, ETIMEDOUT]

    private func stall(for error: FileError, _ problem: String, since start: UInt64) throws {
        try checkGoesOn()
        let failure = Failure(error, of: problem)
        guard case .system(_, _, let number) = error, Self.passing.contains(number) else { throw Ended(failure: failure) }
        let limit = service.configuration.jobsStallTimeout.nanoseconds
        guard monotonicNanoseconds() - start < limit else { throw Ended(failure: failure) }
        let isNew = job.change { state in
            defer { state.stall = failure.message }
            if state.stall != failure.message { state.changes += 1 }
            return state.stall != failure.message
        }
        if isNew {
            service.log.write(.jobStalled, [.job: job.id, .reason: failure.message])
            store.note(job)
        }
        try checkGoesOn()
        _ = job.wakeup.wait(timeout: .now() + .milliseconds(store.stallPause.milliseconds))
        try checkGoesOn()
    }
}
