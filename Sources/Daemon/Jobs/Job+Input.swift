import Bytes
import Corpora
import Glibc
import SAEEngine
import Wire

/// An upload, on the job's queue.
extension Job {
    /// So much of an upload is written between two synchronisations.
    private static let syncBytes = 8 << 20

    /// Begins an upload, which supersedes an earlier one; its number.
    ///
    /// - Throws: `failedPrecondition` with the bytes on disk where `offset` is another number, or the job has its input.
    func beginUpload(at offset: UInt64) throws(Failure) -> Int {
        try synchronizeInput()
        let (phase, bytes) = read { ($0.record.phase, $0.record.inputBytes) }
        guard phase == .uploading else { throw Failure(.failedPrecondition, "the job's input is complete") }
        guard offset == UInt64(bytes) else {
            throw Failure(.failedPrecondition, "the offset must be what is on disk: \(bytes)", value: UInt64(bytes))
        }
        return change { state in
            state.upload += 1
            return state.upload
        }
    }

    /// Writes the next bytes of the upload `number`, and now and then has them on the disk.
    func append(_ bytes: [UInt8], toUpload number: Int, for store: JobStore) throws(Failure) {
        let (upload, phase, written, durable) = read { ($0.upload, $0.record.phase, $0.written, $0.record.inputBytes) }
        guard upload == number, phase == .uploading else {
            throw Failure(.aborted, "another upload, or the end of the job, came between")
        }
        let limits = store.service.configuration
        guard written + bytes.count <= limits.jobsMaximumInputBytes else {
            throw JobStore.full("the input of a job is over the limit", "jobs.max_input_bytes", limits.jobsMaximumInputBytes)
        }
        try store.checkDisk(adding: written - durable + bytes.count)
        do throws(FileError) {
            try FileDescriptor(inputPath, flags: O_WRONLY).write(bytes, at: written)
        } catch { throw Failure(error, of: "the input cannot be written") }
        change { $0.written = written + bytes.count }
        if written + bytes.count - durable >= Self.syncBytes { try synchronizeInput() }
    }

    /// Has all that is written on the disk, and notes how much that is.
    func synchronizeInput() throws(Failure) {
        let (phase, written, durable) = read { ($0.record.phase, $0.written, $0.record.inputBytes) }
        guard phase == .uploading, written != durable else { return }
        do throws(FileError) {
            try FileDescriptor(inputPath, flags: O_WRONLY).synchronize()
            change { $0.record.inputBytes = written }
            try save()
        } catch {
            // Not to be relied upon, and not to be synchronised again.
            change { state in
                state.record.inputBytes = durable
                state.written = durable
                state.upload += 1
            }
            throw Failure(error, of: "the input cannot be written")
        }
    }

    /// Ends the upload: the input must be what the client says. Then the job waits for its turn.
    func start(inputBytes: UInt64, digest: [UInt8], for store: JobStore) throws(Failure) {
        try synchronizeInput()
        let record = record
        guard digest.count == 32 else { throw Failure(.invalidArgument, "the SHA-256 of the input has 32 bytes") }
        let expected = hexadecimal(digest)
        if record.phase != .uploading, !record.inputDigest.isEmpty {
            // Asked once more.
            guard record.inputDigest == expected else { throw Failure(.failedPrecondition, "the job has another input: give it that file again, or another key") }
            return
        }
        guard record.phase == .uploading else { throw Failure(.failedPrecondition, "the job is \(record.phase.label)") }
        guard UInt64(record.inputBytes) == inputBytes else {
            throw Failure(.dataLoss, "the input has \(record.inputBytes) bytes, not \(inputBytes)", value: UInt64(record.inputBytes))
        }
        let (actual, lines): ([UInt8], Int)
        do throws(FileError) {
            let file = try FileDescriptor(inputPath, flags: O_RDONLY)
            (actual, lines) = try JobInput.measure(file, count: record.inputBytes) ?? ([], 0)
        } catch { throw Failure(error, of: "the input cannot be read") }
        guard actual == digest else { throw Failure(.dataLoss, "the input on disk has another SHA-256") }
        try JobInput.check(lines: lines)
        var complete = record
        complete.inputRows = lines
        let dimensions = store.service.serving.engine.dimensions
        try store.checkDisk(
            adding: complete.diskBytes(modelDimensions: dimensions) - record.diskBytes(modelDimensions: dimensions))
        do throws(FileError) {
            _ = try enter(.queued, from: [.uploading]) { record in
                record.inputRows = lines
                record.inputDigest = expected
            }
        } catch { throw Failure(error, of: "the job cannot be started") }
        store.note(self)
        store.startNext()
    }
}
