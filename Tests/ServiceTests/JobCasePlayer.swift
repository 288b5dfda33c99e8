import Bytes
import SAEClient
import Testing

/// Plays the steps of a job of `proto-spec/cases.json`, each a call of the client.
struct JobCasePlayer {
    private let client: Client
    private let specification: JobSpecification
    private let input: [UInt8]
    private let digest: [UInt8]
    private var id = String(repeating: "0", count: 26)
    /// The last that a watch told.
    private(set) var last: Job?
    /// The array file that was fetched.
    private(set) var file: [UInt8]?

    init(_ client: Client, _ specification: JobSpecification, lines: [[UInt8]]) {
        self.client = client
        self.specification = specification
        input = lines.flatMap { $0 + [UInt8(ascii: "\n")] }
        digest = input.withUnsafeBytes { SHA256.digest(of: $0) }
    }

    mutating func play(_ step: String) async throws {
        switch step {
        case "create": made(try await client.createJob(specification))
        case "create another":
            var other = specification
            other.truncates = true
            _ = try await client.createJob(other)
        case "submit":
            let input = input
            made(
                try await client.submitJob(specification, inputBytes: UInt64(input.count), sha256: digest) { offset in
                    Array(input[Int(offset)...])
                })
        case "upload": #expect(try await client.upload(input, to: id, from: 0) == UInt64(input.count))
        case "upload late": _ = try await client.upload(input, to: id, from: 1)
        case "start": _ = try await client.startJob(id, inputBytes: UInt64(input.count), sha256: digest)
        case "start wrongly":
            _ = try await client.startJob(id, inputBytes: UInt64(input.count), sha256: [UInt8](repeating: 0, count: 32))
        case "get": #expect(try await client.job(id).id == id)
        case "watch": for try await job in client.updates(of: id) { last = job }
        case "cancel": _ = try await client.cancelJob(id)
        case "delete": try await client.deleteJob(id)
        case "fetch":
            var bytes: [UInt8] = []
            try await client.fetch("vectors.npy", of: id) { bytes += $0 }
            file = bytes
        default: Issue.record("no step \(step)")
        }
    }

    private mutating func made(_ job: Job) {
        #expect(id == job.id || id.allSatisfy { $0 == "0" }, "another job for the same key")
        id = job.id
    }
}
