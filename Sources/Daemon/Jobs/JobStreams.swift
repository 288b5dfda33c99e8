import Synchronization

/// The streaming calls of one connection that are about jobs. Touched on the connection's I/O queue only, but for what is atomic.
struct JobStreams {
    var uploads: [UInt32: JobUpload] = [:]
    var downloads: [UInt32: JobDownload] = [:]
    var watches: [UInt32: JobWatch] = [:]

    var count: Int { uploads.count + downloads.count + watches.count }
    /// Nothing is under way; a watch goes on for as long as its job.
    var isQuiet: Bool { uploads.isEmpty && downloads.isEmpty }
    var ids: [UInt32] { Array(uploads.keys) + Array(downloads.keys) + Array(watches.keys) }
}

/// A PutJobInput.
final class JobUpload: Sendable {
    let arrival: Arrival
    let job: Job
    /// The upload's number at the job; 0 while or when it is none.
    let number = Atomic<Int>(0)

    struct Progress {
        /// Messages that are on their way to the disk.
        var writing = 0
        var clientIsDone = false
        var isEnding = false
    }
    /// Touched on the I/O queue only; the lock is never contended.
    let progress = Mutex(Progress())

    init(_ arrival: Arrival, of job: Job) {
        self.arrival = arrival
        self.job = job
    }
}

/// A GetJobOutput.
struct JobDownload {
    let arrival: Arrival
    let path: String
    let end: Int
    var offset: Int
    var isReading = false
}

/// A WatchJob.
struct JobWatch {
    let arrival: Arrival
    let job: Job
    /// What the client was told last, and when.
    var changes = -1
    var rows = 0
    var time: UInt64 = 0
}
