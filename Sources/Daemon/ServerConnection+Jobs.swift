import Bytes
import Corpora
import Dispatch
import Glibc
import Messages
import SwiftProtobuf
import Synchronization
import Transport
import Wire

/// Streaming calls about jobs: input in, output out, and watches.
extension ServerConnection {
    /// Bytes of one message of output, at most.
    private static let messageBytes = 262_144
    /// Unsent output at which no more is read from the disk.
    private static let fullOutbox = 1 << 20

    func openJobStream(_ arrived: Arrival, by serving: Serving) throws(Failure) {
        try service.admission.checkState()
        let (methods, stream) = (Methods(serving), arrived.call.stream)
        switch arrived.call.method {
        case .putJobInput:
            let request = try methods.message(Sae_V1_PutJobInputRequest.self, arrived.call)
            let upload = JobUpload(arrived, of: try service.jobs.job(request.id, for: peer))
            jobStreams.uploads[stream] = upload
            upload.progress.withLock { $0.clientIsDone = arrived.call.frame.header.flags.contains(.last) }
            write(upload) { job throws(Failure) in
                upload.number.store(try job.beginUpload(at: request.offset), ordering: .relaxed)
            }
        case .getJobOutput:
            let request = try methods.message(Sae_V1_GetJobOutputRequest.self, arrived.call)
            jobStreams.downloads[stream] = try download(request, arrived)
        default:
            let request = try methods.message(Sae_V1_JobRequest.self, arrived.call)
            jobStreams.watches[stream] = JobWatch(arrival: arrived, job: try service.jobs.job(request.id, for: peer))
            tellJobs()
        }
    }

    private func download(_ request: Sae_V1_GetJobOutputRequest, _ arrived: Arrival) throws(Failure) -> JobDownload {
        let job = try service.jobs.job(request.id, for: peer)
        let record = job.record
        guard record.phase == .done else { throw Failure(.failedPrecondition, "the job is \(record.phase.label)") }
        guard let file = record.files.first(where: { $0.name == request.file }) else {
            throw Failure(.notFound, "the job has no such file")
        }
        guard request.offset <= UInt64(file.bytes) else {
            throw Failure(.outOfRange, "the file has \(file.bytes) bytes", value: UInt64(file.bytes))
        }
        let path = "\(job.folder)/\(file.name)"
        var status = stat()
        guard stat(path, &status) == 0, Int(status.st_size) == file.bytes else {
            throw Failure(.dataLoss, "the file is not what it was")
        }
        let (start, left) = (Int(request.offset), file.bytes - Int(request.offset))
        let end = request.length == 0 ? file.bytes : start + Int(min(request.length, UInt64(left)))
        return JobDownload(arrival: arrived, path: path, end: end, offset: start)
    }

    /// Does a step of an upload on the job's queue, in the order of the steps; `payload` is given back when it is done.
    private func write(_ upload: JobUpload, payload: Int = 0, _ step: @escaping @Sendable (Job) throws(Failure) -> Void) {
        upload.progress.withLock { $0.writing += 1 }
        let lane = lane
        upload.job.queue.async { [self] in
            let result = Result { () throws(Failure) in try step(upload.job) }
            lane.ioQueue.async { [self] in
                written(upload, payload, result)
                settle()
            }
        }
    }

    private func written(_ upload: JobUpload, _ payload: Int, _ result: Result<Void, Failure>) {
        heldBytes -= payload
        let left = upload.progress.withLock { progress in
            progress.writing -= 1
            return progress.writing
        }
        let stream = upload.arrival.call.stream
        guard jobStreams.uploads[stream] === upload else {
            if left == 0 { state.release(stream: stream) }
            return
        }
        if case .failure(let failure) = result { return endJobStream(stream, failure) }
        if let credit = state.consume(payload, of: stream, isLast: left == 0) { socket.enqueue(SendBuffer(credit)) }
        endUploadIfDone(upload)
    }

    /// A part of an upload. It is held until the disk has it.
    func takeInput(_ frame: Frame, of upload: JobUpload) {
        upload.progress.withLock { if frame.header.flags.contains(.last) { $0.clientIsDone = true } }
        heldBytes += frame.payloadCount
        let store = service.jobs
        write(upload, payload: frame.payloadCount) { job throws(Failure) in
            let number = upload.number.load(ordering: .relaxed)
            if number != 0 { try job.append(frame.attachment, toUpload: number, for: store) }
        }
    }

    func inputEnded(of upload: JobUpload) {
        upload.progress.withLock { $0.clientIsDone = true }
        endUploadIfDone(upload)
    }

    /// Once all is written: has it on the disk, and says so.
    private func endUploadIfDone(_ upload: JobUpload) {
        let isDone = upload.progress.withLock { progress in
            guard progress.clientIsDone, progress.writing == 0, !progress.isEnding else { return false }
            progress.isEnding = true
            progress.writing += 1
            return true
        }
        guard isDone else { return }
        let lane = lane
        upload.job.queue.async { [self] in
            let result = Result { () throws(Failure) in
                try upload.job.synchronizeInput()
                return upload.job.record.inputBytes
            }
            lane.ioQueue.async { [self] in
                upload.progress.withLock { $0.writing -= 1 }
                let call = upload.arrival.call
                if jobStreams.uploads[call.stream] !== upload {
                    state.release(stream: call.stream)
                } else {
                    switch result {
                    case .failure(let failure): endJobStream(call.stream, failure)
                    case .success(let bytes):
                        sendJobMessage(Sae_V1_PutJobInputResponse.with { $0.durableBytes = UInt64(bytes) }, on: call.stream)
                        endJobStream(call.stream, nil)
                    }
                }
                settle()
            }
        }
    }

    /// Sends a message if it fits the window; true if so.
    @discardableResult
    private func sendJobMessage(_ message: some SwiftProtobuf.Message, on stream: UInt32) -> Bool {
        let bytes = wireBytes(message)
        guard let window = state.sendWindow(of: stream), bytes.count <= window else { return false }
        state.spend(bytes.count, on: stream)
        let answer = Answer(message: bytes, attachment: nil)
        for buffer in answer.frame(stream: stream, withCRC: state.usesCRC, isLast: false) { socket.enqueue(buffer) }
        return true
    }

    /// Reads and sends what the clients' windows and the outbox have room for. Part of every `settle`.
    func resumeDownloads() {
        for (stream, download) in jobStreams.downloads where !download.isReading {
            guard download.offset < download.end else {
                endJobStream(stream, nil)
                continue
            }
            guard let window = state.sendWindow(of: stream), socket.outboxBytes < Self.fullOutbox else { continue }
            let left = download.end - download.offset
            let count = min(left, Self.messageBytes, window)
            // Not in crumbs.
            guard count == left || count >= 32_768 else { continue }
            jobStreams.downloads[stream]?.isReading = true
            let lane = lane
            service.jobs.readQueue.async { [self] in
                let result = Result { () throws(FileError) in
                    try FileDescriptor(download.path, flags: O_RDONLY).bytes(at: download.offset, count: count)
                }
                lane.ioQueue.async { [self] in
                    send(result, of: stream, count)
                    settle()
                }
            }
        }
    }

    private func send(_ result: Result<[UInt8], FileError>, of stream: UInt32, _ count: Int) {
        guard jobStreams.downloads[stream]?.isReading == true else { return state.release(stream: stream) }
        guard case .success(let bytes) = result, bytes.count == count else {
            return endJobStream(stream, Failure(.dataLoss, "the file cannot be read"))
        }
        jobStreams.downloads[stream]?.isReading = false
        jobStreams.downloads[stream]?.offset += count
        state.spend(count, on: stream)
        var frame: [UInt8] = []
        FrameEncoder.append(FrameHeader(.message, stream: stream), attachment: bytes, withCRC: state.usesCRC, to: &frame)
        socket.enqueue(SendBuffer(frame))
    }

    /// Tells those who watch jobs what they do not know: each change of state, and progress once a second.
    func tellJobs() {
        guard !jobStreams.watches.isEmpty else { return }
        let now = monotonicNanoseconds()
        for (stream, watch) in jobStreams.watches {
            let (changes, rows, phase) = watch.job.read { ($0.changes, $0.progress.rows, $0.record.phase) }
            guard changes != watch.changes || rows != watch.rows && now >= watch.time + 1_000_000_000 else { continue }
            guard sendJobMessage(service.jobs.message(of: watch.job), on: stream) else { continue }
            jobStreams.watches[stream]?.changes = changes
            jobStreams.watches[stream]?.rows = rows
            jobStreams.watches[stream]?.time = now
            if phase.hasEnded { endJobStream(stream, nil) }
        }
        socket.flush()
    }

    /// END; nil: with status OK.
    func endJobStream(_ stream: UInt32, _ failure: Failure?) {
        guard let arrival = forgetJobStream(stream) else { return }
        if state.finish(stream: stream) { sendEnd(of: stream, failure) }
        service.ended(arrival.call.method, transport, failure?.code ?? .ok, since: arrival.time)
    }

    func endJobStreams(_ failure: Failure) {
        for stream in jobStreams.ids { endJobStream(stream, failure) }
    }

    func endExpiredJobStreams(_ now: UInt64, _ failure: Failure) {
        let all = jobStreams.uploads.mapValues(\.arrival).merging(jobStreams.downloads.mapValues(\.arrival)) { first, _ in first }
            .merging(jobStreams.watches.mapValues(\.arrival)) { first, _ in first }
        for (stream, arrival) in all where now >= arrival.deadline { endJobStream(stream, failure) }
    }

    /// The client has cancelled the stream, or is gone; false when it is none about jobs.
    func cancelJobStream(_ stream: UInt32) -> Bool {
        let isBusy = (jobStreams.uploads[stream]?.progress.withLock { $0.writing > 0 } ?? false)
            || jobStreams.downloads[stream]?.isReading == true
        guard let arrival = forgetJobStream(stream) else { return false }
        if !isBusy { state.release(stream: stream) }
        service.ended(arrival.call.method, transport, .cancelled, since: arrival.time)
        return true
    }

    private func forgetJobStream(_ stream: UInt32) -> Arrival? {
        if let upload = jobStreams.uploads.removeValue(forKey: stream) {
            // What has come counts: the next upload begins behind it. A failure tells itself then.
            upload.job.queue.async { try? upload.job.synchronizeInput() }
            return upload.arrival
        }
        return jobStreams.downloads.removeValue(forKey: stream)?.arrival ?? jobStreams.watches.removeValue(forKey: stream)?.arrival
    }
}
