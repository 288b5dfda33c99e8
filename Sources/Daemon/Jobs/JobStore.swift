import Bytes
import Corpora
import Dispatch
import Glibc
import Messages
import SAEEngine
import SwiftProtobuf
import Synchronization
import Transport
import Wire

/// The corpus jobs of a daemon (service specification, section 5): durable, each in a folder of its own below
/// `state.directory`/jobs, which one daemon has at a time.
final class JobStore: Sendable {
    struct Contents {
        var jobs: [String: Job] = [:]
        var running: Set<String> = []
        /// When each owner's last job began, in the order of beginnings: who has waited longest comes first.
        var lastStart: [String: Int] = [:]
        var starts = 0
        var isStopping = false
    }

    unowned let service: Service
    /// Jobs are made, chosen and forgotten here.
    let queue = DispatchQueue(label: "sae.jobs")
    /// Output is read here.
    let readQueue = DispatchQueue(label: "sae.jobs.read")
    let runs = DispatchGroup()
    private let contents = Mutex(Contents())
    /// The lock that keeps another daemon away; -1 while there are no jobs.
    private let lock = Atomic<Int32>(-1)
    /// Between two looks at a disk that was full.
    let stallPause: Duration

    init(service: Service, stallPause: Duration) {
        self.service = service
        self.stallPause = stallPause
    }

    deinit { release() }

    /// Gives the folder to whoever wants it.
    func release() {
        let number = lock.exchange(-1, ordering: .acquiringAndReleasing)
        if number >= 0 { close(number) }
    }

    var folder: String { "\(service.configuration.stateDirectory)/jobs" }
    /// Jobs are taken: the folder is ours and can be written.
    var isServing: Bool { lock.load(ordering: .acquiring) >= 0 && access(folder, W_OK) == 0 }
    var isStopping: Bool { contents.withLock { $0.isStopping } }

    func with<R>(_ body: (inout Contents) -> R) -> R { contents.withLock { body(&$0) } }
    var all: [Job] { with { Array($0.jobs.values) } }

    func checkServing() throws(Failure) {
        guard isServing else {
            let reason = service.configuration.jobsEnabled ? "the folder of its jobs cannot be written" : "jobs.enabled is false"
            throw Failure(.unavailable, "the daemon takes no jobs: \(reason)", retryAfter: 1_000)
        }
    }

    /// The job of that id, if `peer` may know of it.
    func job(_ id: String, for peer: Peer) throws(Failure) -> Job {
        try checkServing()
        guard let job = with({ $0.jobs[id] }), job.owner == peer.name || peer.roles.contains(.admin) else {
            throw Failure(.notFound, "there is no such job")
        }
        return job
    }

    func message(of job: Job) -> Sae_V1_Job { job.message(place: place(of: job)) }

    private func place(of job: Job) -> Int {
        guard job.phase == .queued else { return 0 }
        return all.filter { $0.phase == .queued && $0.id < job.id }.count
    }

    /// Makes a job, or gives the one that was made with the same key.
    func create(_ spec: JobRecord.Spec, owner: String) throws(Failure) -> Job {
        dispatchPrecondition(condition: .onQueue(queue))
        try checkServing()
        let limits = service.configuration
        let jobs = all
        if !spec.key.isEmpty, let job = jobs.first(where: { $0.owner == owner && $0.record.spec.key == spec.key }) {
            guard job.record.spec == spec else {
                throw Failure(.alreadyExists, "another job of yours has this key: \(job.id)")
            }
            return job
        }
        let open = jobs.filter { !$0.phase.hasEnded }
        guard open.count < limits.jobsMaximumQueued else {
            throw Self.full("the daemon has too many jobs", "jobs.max_queued", limits.jobsMaximumQueued)
        }
        guard open.count(where: { $0.owner == owner }) < limits.jobsMaximumPerOwner else {
            throw Self.full("you have too many jobs", "jobs.max_per_owner", limits.jobsMaximumPerOwner)
        }
        try checkDisk(adding: 0)
        let now = wallClockMilliseconds()
        let id = JobID.make(milliseconds: now)
        var record = JobRecord(id: id, owner: owner, spec: spec, created: now, limits)
        if let path = spec.path {
            let file = try JobInput.identity(of: try JobInput.open(path, below: inputRoots))
            guard file.bytes <= limits.jobsMaximumInputBytes else {
                throw Self.full("the input of a job is over the limit", "jobs.max_input_bytes", limits.jobsMaximumInputBytes)
            }
            (record.inputFile, record.inputBytes, record.phase) = (file, file.bytes, .queued)
        }
        let job = Job(record, in: "\(folder)/\(id)")
        do throws(FileError) {
            guard mkdir(job.folder, 0o700) == 0 else { throw .system(operation: "make", path: job.folder, errno: errno) }
            if spec.path == nil { _ = try FileDescriptor(job.inputPath, flags: O_WRONLY | O_CREAT, mode: 0o600) }
            try job.save()
            try FileDescriptor(folder, flags: O_RDONLY | O_DIRECTORY).synchronize()
        } catch {
            Self.removeFiles(of: job)
            throw Failure(error, of: "the job cannot be made")
        }
        with { $0.jobs[id] = job }
        note(job)
        sweepSurplus(of: owner)
        if job.phase == .queued { startNext() }
        return job
    }

    /// Directories below which a job's input may be.
    var inputRoots: [String] { service.configuration.inputRoots }

    static func full(_ message: String, _ limit: String, _ value: Int) -> Failure {
        Failure(.resourceExhausted, message, limit: limit, value: UInt64(value))
    }

    /// Bytes that all jobs take, or will; no sum is over 2⁶⁰.
    var diskBytes: Int {
        let dimensions = service.serving.engine.dimensions
        return all.reduce(0) { min($0 + $1.record.diskBytes(modelDimensions: dimensions), 1 << 60) }
    }

    /// Room for `bytes` more, by the quota and on the disk.
    func checkDisk(adding bytes: Int) throws(Failure) {
        let limits = service.configuration
        guard diskBytes + bytes <= limits.jobsMaximumDiskBytes else {
            throw Self.full("the jobs would take too much of the disk", "jobs.max_disk_bytes", limits.jobsMaximumDiskBytes)
        }
        guard freeBytes - bytes >= limits.jobsMinimumFreeBytes else {
            throw Self.full("the disk of the jobs is too full", "jobs.min_free_bytes", limits.jobsMinimumFreeBytes)
        }
    }

    /// Bytes free on the jobs' file system.
    var freeBytes: Int {
        var status = statvfs()
        guard statvfs(folder, &status) == 0 else { return 0 }
        return Int(clamping: UInt64(status.f_bavail) &* UInt64(status.f_frsize))
    }

    /// Ends a job that has not begun, or tells its run to. What is told to the client then holds after a restart, too.
    func cancel(_ job: Job) throws(Failure) {
        job.change { $0.isCancelled = true }
        defer { job.wakeup.signal() }
        do throws(FileError) {
            if try job.enter(.cancelled, from: [.uploading, .queued], { $0.ended = wallClockMilliseconds() }) {
                job.removePartialFiles()
                note(job)
            } else {
                try job.recordCancellation()
            }
        } catch { throw Failure(error, of: "the job stops, but would go on after a restart; cancel it once more") }
    }

    /// Forgets an ended job and its files.
    func delete(_ job: Job) throws(Failure) {
        let isEnded = job.afterRecording {
            guard job.phase.hasEnded else { return false }
            forget(job)
            return true
        }
        guard isEnded else { throw Failure(.failedPrecondition, "the job has not ended: cancel it first") }
    }

    func forget(_ job: Job) {
        _ = with { $0.jobs.removeValue(forKey: job.id) }
        Self.removeFiles(of: job)
    }

    /// The record first: a folder without one is cleared away at the next start.
    private static func removeFiles(of job: Job) {
        unlink(job.recordPath)
        removeFolder(job.folder)
    }

    static func removeFolder(_ path: String) {
        guard let folder = opendir(path) else { return }
        while let entry = readdir(folder) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            if name != ".", name != ".." { unlink("\(path)/\(name)") }
        }
        closedir(folder)
        rmdir(path)
    }

    /// Tells the log and everybody who watches.
    func note(_ job: Job) {
        let phase = job.phase
        var facts: [LogKey: String] = [.job: job.id, .state: phase.label]
        if phase == .failed {
            facts[.reason] = job.record.problem?.message
            service.log.write(.jobFailed, facts)
        } else {
            service.log.write(.jobState, facts)
        }
        for lane in service.lanes { lane.ioQueue.async { lane.forEach { $0.tellJobs() } } }
    }

    /// Takes the folder, and every job in it as it was left. Nothing is taken where the folder cannot be had, which the log says.
    func open() {
        guard service.configuration.jobsEnabled else { return }
        guard access(service.configuration.stateDirectory, F_OK) == 0 else {
            return unavailable("there is no \(service.configuration.stateDirectory)")
        }
        guard mkdir(folder, 0o700) == 0 || errno == EEXIST else { return unavailable(String(cString: strerror(errno))) }
        do throws(FileError) {
            let file = try FileDescriptor("\(folder)/lock", flags: O_RDWR | O_CREAT, mode: 0o600)
            guard flock(file.number, LOCK_EX | LOCK_NB) == 0 else {
                return unavailable(errno == EWOULDBLOCK ? "another daemon has \(folder)" : String(cString: strerror(errno)))
            }
            let ids = try JobID.all(in: folder)
            lock.store(dup(file.number), ordering: .releasing)
            for id in ids { recover(id) }
        } catch { return unavailable(error.summary) }
    }

    private func unavailable(_ reason: String) { service.log.write(.jobsUnavailable, [.reason: reason]) }

    private func recover(_ id: String) {
        let path = "\(folder)/\(id)"
        // Stopped while it was made or removed.
        guard access("\(path)/job.json", F_OK) == 0 else { return Self.removeFolder(path) }
        do throws(FileError) {
            var record = try JobRecord(readingFile: "\(path)/job.json")
            guard record.id == id else { throw .format(path: path, reason: "the record is another job's") }
            if record.phase == .running || record.phase == .finalizing { record.phase = .queued }
            let job = Job(record, in: path)
            if record.phase == .uploading {
                // What was written behind the last synchronisation is not known to be whole.
                let input = try FileDescriptor(job.inputPath, flags: O_WRONLY)
                // The time of the last upload stays, unless there is something to cut.
                if try input.size != record.inputBytes { try input.truncate(to: record.inputBytes) }
            }
            if !record.phase.hasEnded, record.cancelAsked != nil {
                job.end(as: .cancelled)
            } else if record.phase == .queued, record.generation != 0, !record.isComputed {
                try job.showCommitted()
            }
            with { $0.jobs[id] = job }
        } catch {
            service.log.write(.jobFailed, [.job: id, .reason: error.summary])
        }
    }
}
