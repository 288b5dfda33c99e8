package import Bytes
import Corpora
import FoundationEssentials
package import Messages
import RuleLibrary
import SwiftProtobuf
import Vectors
package import Wire

/// Where a job is in its life; the raw values are those of the protocol.
enum JobPhase: Int, Codable, Sendable, CaseIterable {
    case uploading = 1
    case queued, running, finalizing, done, failed, cancelled

    var hasEnded: Bool { self == .done || self == .failed || self == .cancelled }

    /// The name in metrics, logs and `job.json`.
    var label: String {
        switch self {
        case .uploading: "uploading"
        case .queued: "queued"
        case .running: "running"
        case .finalizing: "finalizing"
        case .done: "done"
        case .failed: "failed"
        case .cancelled: "cancelled"
        }
    }
}

/// What is kept of a job in its `job.json`: all that a daemon needs to go on after a stop at any moment.
package struct JobRecord: Codable, Sendable {
    package struct Spec: Codable, Sendable, Equatable {
        var key = ""
        var input = CorpusPlan.Input.lines
        var textField = ""
        var output = CorpusPlan.Output.npy
        var encoding: UInt32 = 0
        /// 0: all of the model's.
        var dimensions = 0
        var truncate = false
        var failOnError = false
        /// Of the input, below a directory of `jobs.input_roots`; nil: it is uploaded.
        var path: String?
    }

    struct Problem: Codable, Sendable {
        var code: UInt32
        var message: String
        var limit = ""
    }

    /// Lines of an input.
    static let maximumRows = 1 << 40

    var version = 1
    var id: String
    var owner: String
    var spec: Spec
    var phase = JobPhase.uploading
    /// Milliseconds since 1970; 0: not yet.
    var created: Int64
    var started: Int64 = 0
    var ended: Int64 = 0
    /// When its cancellation was asked for while it was under way: it is then to end as cancelled, also after a restart.
    var cancelAsked: Int64?
    /// Of an upload the bytes that are safely on disk.
    var inputBytes = 0
    /// The input's, where it is not uploaded, as it was when the job was made.
    var inputFile: JobInput.Identity?
    /// SHA-256 in hexadecimal, once the upload is complete, or the job has begun.
    var inputDigest = ""
    /// Lines of the input, once it is complete.
    var inputRows = 0
    /// What served when the job began, and must compute all of it; 0 and empty before.
    var generation: UInt64 = 0
    var generationDigest = ""
    /// Of a vector, once the job has begun.
    var dimensions = 0
    /// What chunks and texts keep, as it was when the job was made.
    var chunkRows: Int
    var maximumTextBytes: Int
    var maximumPieces: Int
    /// All chunks are committed: only the last steps are left, or none. The counts below are final then.
    var isComputed = false
    var rows = 0
    var failedRows = 0
    var chunks = 0
    var problem: Problem?
    var files: [CorpusFile] = []

    var plan: CorpusPlan {
        var plan = CorpusPlan(dimensions: dimensions)
        plan.input = spec.input
        plan.textField = spec.textField.isEmpty ? "text" : spec.textField
        plan.output = spec.output
        plan.encoding = VectorEncoding(rawValue: spec.encoding) ?? .float32
        plan.chunkRows = chunkRows
        plan.maximumTextBytes = maximumTextBytes
        plan.maximumPieces = maximumPieces
        plan.truncates = spec.truncate
        return plan
    }

    /// Bytes that the job takes on the disk, or will.
    package func diskBytes(modelDimensions: Int) -> Int {
        let inputBytes = spec.path == nil ? inputBytes : 0
        if phase == .failed || phase == .cancelled { return inputBytes }
        if phase == .done { return inputBytes + files.reduce(0) { $0 + $1.bytes } }
        var plan = plan
        if plan.dimensions == 0 { plan.dimensions = spec.dimensions == 0 ? modelDimensions : spec.dimensions }
        return inputBytes + plan.predictedBytes(rows: inputRows)
    }

    /// Makes these the contents of `path`, whole or not at all.
    package func write(to path: String) throws(FileError) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        guard let data = try? encoder.encode(self) else { preconditionFailure("a record of plain values always encodes") }
        var file = try AtomicFileWriter(path)
        try file.append(Array(data))
        try file.commit()
    }

    /// - Throws: `FileError.format` for a file that is no record of this version, or says what no job can be.
    package init(readingFile path: String) throws(FileError) {
        let bytes = try MappedFile(path)
        let data = withExtendedLifetime(bytes) { Data(bytes.bytes) }
        guard let record = try? JSONDecoder().decode(JobRecord.self, from: data), record.version == 1 else {
            throw .format(path: path, reason: "not the record of a job that this version can read")
        }
        guard record.isPossible else { throw .format(path: path, reason: "the record says what no job can be") }
        self = record
    }

    /// Numbers in their ranges, so that all that is reckoned with them fits; files in the job's own folder.
    private var isPossible: Bool {
        let encoding = VectorEncoding(rawValue: spec.encoding)
        let isName = { (name: String) in !name.isEmpty && name != "." && name != ".." && !name.contains("/") }
        let hasGeneration = generation == 0 ? generationDigest.isEmpty : Digest(hexadecimal: generationDigest) != nil
        return (spec.path == nil) == (inputFile == nil) && hasGeneration && encoding != nil && (encoding == .float32 || spec.output == .npy)
            && [spec.dimensions, dimensions].allSatisfy { 0...1_024 ~= $0 && (encoding != .binary || $0 % 8 == 0) }
            && [created, started, ended].allSatisfy { 0...1 << 53 ~= $0 }
            && 0...1 << 50 ~= inputBytes && 0...min(inputBytes, Self.maximumRows) ~= inputRows
            && 0...inputRows ~= rows && 0...rows ~= failedRows && 0...rows ~= chunks
            && 1...1_048_576 ~= chunkRows && 1...1 << 30 ~= maximumTextBytes && 1...1 << 30 ~= maximumPieces
            && files.count <= 8 && files.allSatisfy { 0...1 << 56 ~= $0.bytes && isName($0.name) }
    }

    init(id: String, owner: String, spec: Spec, created: Int64, _ limits: Configuration) {
        self.id = id
        self.owner = owner
        self.spec = spec
        self.created = created
        chunkRows = limits.jobsChunkRows
        maximumTextBytes = limits.maximumTextBytes
        maximumPieces = limits.maximumPiecesPerText
    }
}

extension JobRecord.Spec {
    /// - Throws: `invalidArgument` for what no job can be.
    package init(_ message: Sae_V1_JobSpec, modelDimensions: Int) throws(Failure) {
        key = message.key
        guard key.utf8.count <= 64 else { throw Failure(.invalidArgument, "the key of a job has at most 64 bytes") }
        switch message.input {
        case .upload(true): break
        case .path(let text):
            guard 1...4_096 ~= text.utf8.count, !text.utf8.contains(0) else {
                throw Failure(.invalidArgument, "the path of an input has 1 to 4,096 bytes, none of them zero")
            }
            path = text
        case .upload, nil: throw Failure(.invalidArgument, "the job names no input")
        }
        switch message.inputFormat {
        case .lines: input = .lines
        case .jsonl: input = .jsonl
        case .UNRECOGNIZED: throw Failure(.invalidArgument, "unknown format of the input")
        }
        textField = message.textField
        guard textField.utf8.count <= 256 else { throw Failure(.invalidArgument, "the name of the text's member is too long") }
        switch message.output {
        case .npy: output = .npy
        case .jsonlOut: output = .jsonl
        case .UNRECOGNIZED: throw Failure(.invalidArgument, "unknown format of the output")
        }
        guard let encoding = VectorEncoding(rawValue: UInt32(clamping: message.encoding.rawValue)) else {
            throw Failure(.invalidArgument, "unknown encoding \(message.encoding.rawValue)")
        }
        self.encoding = encoding.rawValue
        guard output == .npy || encoding == .float32 else {
            throw Failure(.invalidArgument, "JSONL output has the encoding F32 only")
        }
        dimensions = Int(message.dimensions)
        guard dimensions <= modelDimensions else {
            throw Failure(.invalidArgument, "dimensions must be from 1 to \(modelDimensions), or 0 for all")
        }
        guard encoding != .binary || dimensions % 8 == 0 else {
            throw Failure(.invalidArgument, "BINARY needs a multiple of 8 dimensions, not \(dimensions)")
        }
        truncate = message.truncate
        failOnError = message.failOnError
    }

    package var message: Sae_V1_JobSpec {
        .with {
            $0.key = key
            if let path { $0.path = path } else { $0.upload = true }
            $0.inputFormat = input == .lines ? .lines : .jsonl
            $0.textField = textField
            $0.output = output == .npy ? .npy : .jsonlOut
            $0.encoding = Sae_V1_Encoding(rawValue: Int(encoding)) ?? .f32
            $0.dimensions = UInt32(clamping: dimensions)
            $0.truncate = truncate
            $0.failOnError = failOnError
        }
    }
}
