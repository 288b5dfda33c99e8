import FoundationEssentials
import Messages
import SwiftProtobuf
import Wire

/// Corpus jobs: a file of texts is uploaded, embedded by the daemon, which survives any stop meanwhile, and fetched.
///
/// ```swift
/// let job = try await client.createJob(JobSpecification())
/// _ = try await client.upload(input, to: job.id, from: 0)
/// _ = try await client.startJob(job.id, inputBytes: UInt64(input.count), sha256: digest)
/// for try await job in client.updates(of: job.id) { print(job.rowCount) }
/// ```
extension Client {
    /// Bytes of one message of an upload, at most: several fit a usual window.
    private static let uploadBytes = 262_144

    /// Makes a job that waits for its input, or with a `path` for its turn.
    ///
    /// - Throws: `alreadyExists` for a key of another specification, `resourceExhausted` naming the limit that is met.
    public func createJob(
        _ specification: JobSpecification, timeout: Duration = .seconds(30)
    ) async throws(ClientError) -> Job {
        var specification = specification
        // So that a call whose connection was lost may be made again.
        if specification.key.isEmpty { specification.key = (0..<4).map { _ in String(UInt64.random(in: 0...(.max)), radix: 36) }.joined() }
        let request = Sae_V1_CreateJobRequest.with { $0.spec = specification.message }
        return try await job(.createJob, request, timeout)
    }

    /// Uploads bytes of the input that `offset` comes before; how many bytes of the input are then safely on the server's disk.
    ///
    /// - Throws: `failedPrecondition`, with the right offset as `limitValue`, when `offset` is not what is on disk.
    public func upload(_ bytes: [UInt8], to id: String, from offset: UInt64) async throws -> UInt64 {
        var rest = bytes[...]
        return try await upload(to: id, from: offset) {
            defer { rest = [] }
            return Array(rest)
        }
    }

    /// Uploads what `next` gives, until that is nothing. Throws what `next` throws, too.
    public func upload(to id: String, from offset: UInt64, _ next: () async throws -> [UInt8]) async throws -> UInt64 {
        let request = Sae_V1_PutJobInputRequest.with {
            $0.id = id
            $0.offset = offset
        }
        let conversation = try await open(.putJobInput, message: wireBytes(request))
        defer { conversation.cancel() }
        // No message may be larger than the window that the server gives.
        let most = min(Self.uploadBytes, serverInitialWindow)
        while true {
            let bytes = try await next()
            guard !bytes.isEmpty else { break }
            for start in stride(from: 0, to: bytes.count, by: most) {
                try await conversation.send([], attachment: Array(bytes[start..<min(start + most, bytes.count)]))
            }
        }
        conversation.finishSending()
        guard let frame = try await conversation.next(), let response = wireMessage(Sae_V1_PutJobInputResponse.self, frame.message),
            try await conversation.next() == nil
        else { throw Self.malformed }
        return response.durableBytes
    }

    /// Ends the upload, and has the job wait for its turn.
    ///
    /// - Throws: `dataLoss` when the server has another input.
    public func startJob(
        _ id: String, inputBytes: UInt64, sha256: [UInt8], timeout: Duration = .seconds(120)
    ) async throws(ClientError) -> Job {
        let request = Sae_V1_StartJobRequest.with {
            $0.id = id
            $0.inputBytes = inputBytes
            $0.sha256 = .init(sha256)
        }
        return try await job(.startJob, request, timeout)
    }

    /// The job as it is now.
    public func job(_ id: String, timeout: Duration = .seconds(10)) async throws(ClientError) -> Job {
        try await job(.getJob, Sae_V1_JobRequest.with { $0.id = id }, timeout)
    }

    /// All jobs that one may see, newest first.
    public func jobs(timeout: Duration = .seconds(10)) async throws(ClientError) -> [Job] {
        var (jobs, token): ([Job], String) = ([], "")
        repeat {
            let request = Sae_V1_ListJobsRequest.with { $0.pageToken = token }
            let frame = try await call(.listJobs, message: wireBytes(request), timeout: timeout)
            guard let page = wireMessage(Sae_V1_ListJobsResponse.self, frame.message) else { throw Self.malformed }
            jobs += page.jobs.map(Job.init)
            token = page.nextPageToken
        } while !token.isEmpty
        return jobs
    }

    /// Ends a job at its next chunk. On one that has ended it changes nothing.
    public func cancelJob(_ id: String, timeout: Duration = .seconds(10)) async throws(ClientError) -> Job {
        try await job(.cancelJob, Sae_V1_JobRequest.with { $0.id = id }, timeout)
    }

    /// Removes an ended job and its files.
    public func deleteJob(_ id: String, timeout: Duration = .seconds(30)) async throws(ClientError) {
        do throws(ClientError) {
            _ = try await call(.deleteJob, message: wireBytes(Sae_V1_JobRequest.with { $0.id = id }), timeout: timeout)
        } catch {
            // Gone by the attempt whose answer was lost.
            guard error.code == .notFound, error.followsLoss else { throw error }
        }
    }

    /// The job now, then at each change, and about once a second while it advances; ends with the job. Of several changes that come
    /// while nobody looks the last is told. A connection that is lost is made again.
    public func updates(of id: String) -> AsyncThrowingStream<Job, any Error> {
        updates(.watchJob, wireBytes(Sae_V1_JobRequest.with { $0.id = id })) { (job: Sae_V1_Job) in Job(job) }
    }

    /// Fetches a file of a finished job from `offset` on, part by part. A connection that is lost is made again, and the file goes on
    /// where it was.
    public func fetch(
        _ file: String, of id: String, from offset: UInt64 = 0, _ take: ([UInt8]) throws -> Void
    ) async throws {
        var offset = offset
        try await persisting {
            let request = Sae_V1_GetJobOutputRequest.with {
                $0.id = id
                $0.file = file
                $0.offset = offset
            }
            let conversation = try await open(.getJobOutput, message: wireBytes(request))
            defer { conversation.cancel() }
            while let frame = try await conversation.next() {
                try take(frame.attachment)
                offset += UInt64(frame.attachment.count)
            }
        }
    }

    /// Makes a job, uploads its input and starts it; connections that are lost meanwhile are made again, and the upload goes on with
    /// what the server has. With `specification.key` set the whole may be repeated, also by another process.
    ///
    /// - Parameters:
    ///   - sha256: of the input's `inputBytes` bytes.
    ///   - read: some bytes of the input from an offset on, at least one.
    ///   - progress: hears how many bytes are sent.
    public func submitJob(
        _ specification: JobSpecification, inputBytes: UInt64, sha256: [UInt8], _ read: (UInt64) throws -> [UInt8],
        progress: (UInt64) -> Void = { _ in }
    ) async throws -> Job {
        let limit = "jobs.max_input_bytes"
        if let most = serverLimits[limit], inputBytes > most {
            throw ClientError(.resourceExhausted, "the input of a job is over the limit", limit: limit, limitValue: most)
        }
        let made = try await createJob(specification)
        // The key's job of an earlier call: asked to start once more, the daemon tells whether its input is this one.
        guard made.state == .uploading else { return try await startJob(made.id, inputBytes: inputBytes, sha256: sha256) }
        try await persisting {
            var offset = try await job(made.id).inputBytes
            while offset < inputBytes {
                var next = offset
                offset = try await upload(to: made.id, from: offset) {
                    progress(next)
                    // So much is safely on the disk at the least, even if the connection never lasts longer.
                    guard next < inputBytes, next - offset < 64 << 20 else { return [] }
                    let bytes = try read(next)
                    next += UInt64(bytes.count)
                    return bytes
                }
            }
        }
        return try await startJob(made.id, inputBytes: inputBytes, sha256: sha256)
    }

    /// Repeats `attempt` while connections are lost, until none has held for 15 s in a minute, or in `ClientOptions.reconnectTimeout`
    /// if that is longer, or there is none for so long.
    func persisting(_ attempt: () async throws -> Void) async throws {
        let patience = max(.seconds(60), openingPatience)
        var giveUp = ContinuousClock.now + patience
        var pause = Duration.milliseconds(50)
        while true {
            let start = ContinuousClock.now
            do { return try await attempt() } catch let error as ClientError {
                guard error.code == .unavailable || error.code == .deadlineExceeded, !error.isOutage else { throw error }
                if start.duration(to: .now) > .seconds(15) { (giveUp, pause) = (.now + patience, .milliseconds(50)) }
                guard ContinuousClock.now < giveUp else { throw error }
            }
            try await Task.sleep(for: pause)
            pause = min(pause * 2, .seconds(2))
        }
    }

    private func job(
        _ method: Method, _ request: some SwiftProtobuf.Message, _ timeout: Duration
    ) async throws(ClientError) -> Job {
        let frame = try await call(method, message: wireBytes(request), timeout: timeout)
        guard let message = wireMessage(Sae_V1_Job.self, frame.message) else { throw Self.malformed }
        return Job(message)
    }
}

extension JobSpecification {
    var message: Sae_V1_JobSpec {
        .with {
            $0.key = key
            if path.isEmpty { $0.upload = true } else { $0.path = path }
            if case .jsonl(let field) = input {
                $0.inputFormat = .jsonl
                $0.textField = field
            }
            $0.output = output == .npy ? .npy : .jsonlOut
            $0.encoding = Sae_V1_Encoding(rawValue: Int(encoding.rawValue)) ?? .f32
            $0.dimensions = UInt32(clamping: dimensions)
            $0.truncate = truncates
            $0.failOnError = failsOnError
        }
    }

    init(_ message: Sae_V1_JobSpec) {
        key = message.key
        input = message.inputFormat == .jsonl ? .jsonl(textField: message.textField) : .lines
        output = message.output == .jsonlOut ? .jsonl : .npy
        encoding = VectorEncoding(rawValue: UInt32(clamping: message.encoding.rawValue)) ?? .float32
        dimensions = Int(message.dimensions)
        truncates = message.truncate
        failsOnError = message.failOnError
        path = message.path
    }
}

extension Job {
    init(_ message: Sae_V1_Job) {
        let states: [Sae_V1_JobState: State] = [
            .uploading: .uploading, .queued: .queued, .running: .running, .finalizing: .finalizing, .done: .done, .failed: .failed,
            .jobCancelled: .cancelled,
        ]
        id = message.id
        specification = JobSpecification(message.spec)
        state = states[message.state] ?? .unknown
        owner = message.owner
        generation = message.generation
        inputBytes = message.inputBytes
        inputDone = message.inputDone
        rowCount = message.rowsDone
        failedRowCount = message.rowsFailed
        created = message.createdMs
        started = message.startedMs
        ended = message.endedMs
        stall = message.stall
        failure = message.error.message
        files = message.files.map { File(name: $0.name, byteCount: $0.bytes, sha256: Array($0.sha256)) }
        rowsPerSecond = message.rowsPerSecond
        queuePlace = Int(message.queuePlace)
    }
}
