import Bytes
import Corpora
import Dispatch
import FoundationEssentials
import CSystemd  // its headers bring timespec
import Glibc
package import Messages
import Synchronization
import SwiftProtobuf
import Transport
import Wire

/// One corpus job of the daemon: its record, and what is known of its progress.
///
/// Until it runs, its files are written on `queue` only; while it runs, by its run only. Who changes `phase` has claimed it under
/// the lock before.
package final class Job: Sendable {
    struct State: Sendable {
        var record: JobRecord
        /// Why it does not advance; empty where it does.
        var stall = ""
        var isCancelled = false
        /// The disk did not take the record as it is.
        var isUnsaved = false
        /// Grows at each change that watchers are to hear of at once.
        var changes = 0
        var progress = Progress()
        /// The upload that may write, by number; a later one supersedes it.
        var upload = 0
        /// Written of an upload, and perhaps not on disk.
        var written = 0
        var rowsPerSecond = 0.0
        /// The last sweep found that the job may go.
        var isExpired = false
    }

    struct Progress: Sendable {
        var input = 0
        var rows = 0
        var failed = 0
        var chunks = 0
    }

    let id: String
    let owner: String
    let folder: String
    let queue: DispatchQueue
    /// Wakes a run that waits for room on the disk.
    let wakeup = DispatchSemaphore(value: 0)
    private let state: Mutex<State>
    /// Held while the record goes to the disk, so that an older one never follows a newer one.
    private let recording = Mutex(())

    package init(_ record: JobRecord, in folder: String) {
        id = record.id
        owner = record.owner
        self.folder = folder
        queue = DispatchQueue(label: "sae.job")
        var state = State(record: record)
        state.written = record.inputBytes
        state.progress = Progress(input: 0, rows: record.rows, failed: record.failedRows, chunks: record.chunks)
        self.state = Mutex(state)
    }

    var inputPath: String { "\(folder)/input" }
    var recordPath: String { "\(folder)/job.json" }

    func read<R>(_ body: (State) -> R) -> R { state.withLock { body($0) } }
    func change<R>(_ body: (inout State) -> R) -> R { state.withLock { body(&$0) } }

    var record: JobRecord { read(\.record) }
    var phase: JobPhase { read(\.record.phase) }
    var isCancelled: Bool { read(\.isCancelled) }

    /// Writes the record as it is.
    func save() throws(FileError) {
        try recording.withLock { _ throws(FileError) in try write() }
    }

    /// Does `body` while no record goes to the disk: an end that others see already is on it then, or was taken back.
    func afterRecording<R>(_ body: () -> R) -> R { recording.withLock { _ in body() } }

    private func write() throws(FileError) {
        do throws(FileError) {
            try record.write(to: recordPath)
            change { $0.isUnsaved = false }
        } catch {
            change { $0.isUnsaved = true }
            throw error
        }
    }

    /// Goes from one of `phases` to `next`, on the disk, too; false when it is in none of them, or is to end as cancelled and would be
    /// finalized. Everything stays as it was when the disk fails.
    func enter(_ next: JobPhase, from phases: Set<JobPhase>, _ edit: (inout JobRecord) -> Void = { _ in }) throws(FileError) -> Bool {
        try recording.withLock { _ throws(FileError) in
            let before: JobRecord? = change { state in
                guard phases.contains(state.record.phase), next != .finalizing || !state.isCancelled else { return nil }
                let before = state.record
                state.record.phase = next
                edit(&state.record)
                state.changes += 1
                return before
            }
            guard let before else { return false }
            do throws(FileError) { try write() } catch {
                change { $0.record = before }
                throw error
            }
            return true
        }
    }

    /// Has it on the disk that the job, if it is under way, is to end as cancelled; of one that has ended, that it has.
    func recordCancellation() throws(FileError) {
        try recording.withLock { _ throws(FileError) in
            let isNews = change { state in
                guard !state.record.phase.hasEnded else { return state.isUnsaved }
                defer { state.record.cancelAsked = state.record.cancelAsked ?? wallClockMilliseconds() }
                return state.record.cancelAsked == nil || state.isUnsaved
            }
            if isNews { try write() }
        }
    }

    /// Ends as `phase`, failed or cancelled. On a disk that takes nothing it ends for this daemon, and goes on with the next, unless it
    /// was cancelled.
    func end(as phase: JobPhase, _ problem: JobRecord.Problem? = nil) {
        removePartialFiles()
        change { state in
            state.record.phase = phase
            state.record.problem = problem
            state.record.ended = wallClockMilliseconds()
            state.record.rows = state.progress.rows
            state.record.failedRows = state.progress.failed
            state.record.chunks = state.progress.chunks
            state.stall = ""
            state.changes += 1
        }
        try? save()
    }

    /// Nobody can fetch them. The journal first: after a stop before the record is written, the job begins anew.
    func removePartialFiles() {
        let paths = CorpusPaths(folder: folder, record.plan)
        for path in [paths.journal, paths.rows.partial, paths.errors.partial, paths.scales.partial] { unlink(path) }
    }

    /// Shows what a stopped daemon left committed; whether that is whole is checked when the job runs.
    func showCommitted() throws(FileError) {
        let plan = record.plan
        let (last, failed) = try CorpusOutput.committed(plan, at: CorpusPaths(folder: folder, plan))
        guard let last else { return }
        change {
            $0.progress = Progress(
                input: last.inputEnd, rows: last.firstRow + last.rowCount, failed: failed, chunks: last.chunk + 1)
        }
    }

    /// As the protocol tells it. `place`: how many jobs come before, of a queued one.
    package func message(place: Int) -> Sae_V1_Job {
        let state = read { $0 }
        let record = state.record
        return .with {
            $0.id = id
            $0.spec = record.spec.message
            $0.state = Sae_V1_JobState(rawValue: record.phase.rawValue) ?? .jobUnknown
            $0.owner = owner
            $0.generation = record.generation
            $0.inputBytes = UInt64(record.inputBytes)
            $0.inputDone = UInt64(record.phase == .done ? record.inputBytes : state.progress.input)
            $0.rowsDone = UInt64(state.progress.rows)
            $0.rowsFailed = UInt64(state.progress.failed)
            $0.chunks = UInt32(clamping: state.progress.chunks)
            $0.createdMs = record.created
            $0.startedMs = record.started
            $0.endedMs = record.ended
            $0.stall = state.stall
            if let problem = record.problem {
                $0.error = .with {
                    $0.message = problem.message
                    $0.limit = problem.limit
                }
            }
            $0.files = record.files.map { file in
                .with {
                    $0.name = file.name
                    $0.bytes = UInt64(file.bytes)
                    $0.sha256 = .init(bytes(ofHexadecimal: file.sha256))
                }
            }
            $0.rowsPerSecond = state.rowsPerSecond
            $0.queuePlace = UInt32(clamping: place)
        }
    }
}

/// Milliseconds since 1970.
func wallClockMilliseconds() -> Int64 {
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    return Int64(now.tv_sec) * 1_000 + Int64(now.tv_nsec) / 1_000_000
}

func bytes(ofHexadecimal text: String) -> [UInt8] {
    let digits = text.utf8.compactMap { Character(UnicodeScalar($0)).hexDigitValue }
    return stride(from: 0, to: digits.count - 1, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
}

extension Failure {
    /// What went wrong with a file of the daemon's own, without its path.
    init(_ error: FileError, of what: String) {
        switch error {
        case .system(_, _, let number) where number == ENOSPC || number == EDQUOT:
            self.init(.resourceExhausted, "\(what): the disk of the jobs is full")
        case .system(_, _, ENOENT): self.init(.dataLoss, "\(what): a file of the job is missing")
        case .system(_, _, let number): self.init(.internal, "\(what): \(String(cString: strerror(number)))")
        case .format(_, let reason): self.init(.dataLoss, "\(what): \(reason)")
        }
    }
}
