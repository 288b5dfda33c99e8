/// What a corpus job of the daemon makes of a file of texts.
public struct JobSpecification: Sendable, Equatable {
    public enum Input: Sendable, Equatable {
        /// A text a line.
        case lines
        /// A JSON object a line; the text is its member of that name. A member `id` is copied to JSON output.
        case jsonl(textField: String)
    }

    public enum Output: Sendable, Equatable {
        /// NumPy's array file, rows x dimensions.
        case npy
        /// A JSON object a line; float32 only.
        case jsonl
    }

    /// At most 64 bytes, of your choice: the same key and specification give the same job, so that a submission may be repeated.
    /// Empty: a random one for each call.
    public var key = ""
    public var input = Input.lines
    public var output = Output.npy
    public var encoding = VectorEncoding.float32
    /// The leading dimensions wanted, normalised again; 0 = all.
    public var dimensions = 0
    /// An over-long text is cut instead of being a row in error.
    public var truncates = false
    /// A row in error fails the job, instead of being a row of zeros and a line of `errors.jsonl`.
    public var failsOnError = false
    /// The input is not uploaded, but a file of the daemon's machine, at this path below a directory of its setting `jobs.input_roots`;
    /// `createJob` alone then begins the job. Empty: an upload.
    public var path = ""

    public init() {}
}

/// A corpus job as the daemon last told it.
public struct Job: Sendable, Equatable {
    public enum State: Sendable, Equatable {
        case unknown, uploading, queued, running, finalizing, done, failed, cancelled

        /// Nothing more happens to the job.
        public var isFinal: Bool { self == .done || self == .failed || self == .cancelled }
    }

    /// A file that a finished job gives.
    public struct File: Sendable, Equatable {
        public let name: String
        public let byteCount: UInt64
        public let sha256: [UInt8]
    }

    public let id: String
    public let specification: JobSpecification
    public let state: State
    public let owner: String
    /// The model generation that computes all of it; 0 before the job runs.
    public let generation: UInt64
    /// Of the input; of an upload that is not complete, those that are safely on the server's disk.
    public let inputBytes: UInt64
    /// Of the input, computed and committed.
    public let inputDone: UInt64
    /// Committed rows, and those among them that are in error.
    public let rowCount: UInt64
    public let failedRowCount: UInt64
    /// Milliseconds since 1970; 0: not yet.
    public let created: Int64
    public let started: Int64
    public let ended: Int64
    /// Why it does not advance; empty where it does.
    public let stall: String
    /// Why it failed, or empty.
    public let failure: String
    /// What may be fetched, once it is done.
    public let files: [File]
    public let rowsPerSecond: Double
    /// Of a queued job: how many come before it.
    public let queuePlace: Int
}
