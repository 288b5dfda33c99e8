import Bytes
import Daemon
import Foundation
import Messages
import SAEEngine
import SwiftProtobuf
import TestPeers
import TestSupport
import Testing
import Wire

/// Corpus jobs over real sockets.
@Suite struct JobTests {
    private func lines(_ texts: [String]) -> [UInt8] { Array(texts.map { $0 + "\n" }.joined().utf8) }

    /// The array file that the engine's own vectors make; the header is written here by hand.
    private func array(_ vectors: [Float], columns: Int) -> [UInt8] {
        let rows = vectors.count / columns
        var header = "{'descr': '<f4', 'fortran_order': False, 'shape': (\(rows), \(columns)), }"
        header += String(repeating: " ", count: 128 - 10 - header.utf8.count - 1) + "\n"
        return [0x93] + Array("NUMPY".utf8) + [1, 0, 118, 0] + Array(header.utf8) + vectors.withUnsafeBytes { Array($0) }
    }

    @Test func `a job of 2,000 lines gives the bits of the engine`() async throws {
        let fixture = try ServiceFixture { $0.jobsChunkRows = 300 }
        let texts = GeneratedText.sentences(2_000, seed: 5)
        let input = lines(texts)
        let peer = try await JobPeer(fixture.unixEndpoint)
        let id = try await peer.submit(input)
        let told = try await peer.watch(id)
        let job = try #require(told.last)
        #expect(job.state == .done && job.rowsDone == 2_000 && job.rowsFailed == 0 && job.chunks == 7)
        #expect(job.generation == fixture.engine.generation && job.inputBytes == UInt64(input.count))
        #expect(job.files.map(\.name) == ["vectors.npy", "errors.jsonl", "manifest.json"])
        let expected = array(fixture.vectors(texts).vectors, columns: fixture.engine.dimensions)
        let fetched = try await peer.output("vectors.npy", of: id)
        #expect(fetched == expected)
        #expect(job.files.first.map { Array($0.sha256) } == expected.withUnsafeBytes { SHA256.digest(of: $0) })
        #expect(try await peer.output("vectors.npy", of: id, from: 5_000, count: 70_000) == Array(expected[5_000..<75_000]))
        #expect(try await peer.output("errors.jsonl", of: id).isEmpty)
        #expect(fixture.metric("sae_jobs{state=\"done\"}") == 1 && fixture.metric("sae_job_rows_total{outcome=\"ok\"}") == 2_000)
    }

    @Test func `a job goes on where a stopped daemon left it, and its file is the same`() async throws {
        let folder = try TemporaryFolder()
        let texts = GeneratedText.sentences(3_000, seed: 6)
        let id: String
        do {
            let fixture = try ServiceFixture {
                $0.stateDirectory = folder.root
                $0.jobsChunkRows = 10
            }
            let peer = try await JobPeer(fixture.unixEndpoint)
            id = try await peer.submit(lines(texts))
            #expect(await eventually { fixture.metric("sae_job_rows_total{outcome=\"ok\"}") >= 50 })
        }
        let fixture = try ServiceFixture { $0.stateDirectory = folder.root }
        let peer = try await JobPeer(fixture.unixEndpoint)
        let job = try #require(try await peer.watch(id).last)
        #expect(job.state == .done && job.rowsDone == 3_000 && job.chunks == 300)
        // The second daemon has not computed all of it.
        #expect(fixture.metric("sae_job_rows_total{outcome=\"ok\"}") < 3_000)
        let expected = array(fixture.vectors(texts).vectors, columns: fixture.engine.dimensions)
        #expect(try await peer.output("vectors.npy", of: id) == expected)
    }

    @Test(arguments: [Method.startJob, .cancelJob, .deleteJob, .createJob])
    func `a call that is refused before it begins is over`(_ method: Method) async throws {
        let fixture = try ServiceFixture { $0.drainGrace = .seconds(3_600) }
        let peer = try await RawPeer.greeted(fixture.unixEndpoint)
        // A job that there is not; to CreateJob the id says nothing, and it lacks an input.
        let message = wireBytes(Sae_V1_JobRequest.with { $0.id = "x" })
        let hour: UInt32 = 3_600_000_000
        try await peer.send(
            frame(.request, flags: .last, method: method.rawValue, stream: 1, argument: hour, message: message))
        let code = method == .createJob ? "INVALID_ARGUMENT" : "NOT_FOUND"
        #expect(try await peer.words() == "END 1 \(code)")
        #expect(fixture.metric("sae_streams{transport=\"unix\"}") == 0)
        fixture.service.drain()
        #expect(await eventually(20) { fixture.service.state == .stopped }, "nothing is under way that the drain waits for")
        let counts = fixture.service.metricsPage().split(separator: "\n").filter {
            $0.hasPrefix("sae_requests_total{method=\"\(method.name)\"") && !$0.hasSuffix(" 0")
        }
        #expect(counts == ["sae_requests_total{method=\"\(method.name)\",transport=\"unix\",code=\"\(code)\"} 1"])
    }

    @Test func `a job whose input is missing fails at once and says so`() async throws {
        let fixture = try ServiceFixture()
        let peer = try await JobPeer(fixture.unixEndpoint)
        let first = try await peer.submit(lines(GeneratedText.sentences(20_000, seed: 7)))
        let second = try await peer.submit(lines(["a dog"]))
        try FileManager.default.removeItem(atPath: fixture.folder.path("jobs/\(second)/input"))
        _ = try await peer.job(.cancelJob, first)
        let job = try #require(try await peer.watch(second).last)
        #expect(job.state == .failed && job.error.message == "the input cannot be read: a file of the job is missing")
    }

    @Test func `a list that is over what the client accepts is refused`() async throws {
        let roots = try TemporaryFolder()
        let folder = (0..<3).map { String(repeating: "\($0)", count: 250) }.joined(separator: "/")
        try FileManager.default.createDirectory(atPath: roots.path(folder), withIntermediateDirectories: true)
        try Data("a dog\n".utf8).write(to: URL(fileURLWithPath: roots.path("\(folder)/x")))
        let fixture = try ServiceFixture {
            $0.jobsInputRoots = roots.root
            ($0.jobsMaximumQueued, $0.jobsMaximumPerOwner) = (100, 100)
        }
        let jobs = try await JobPeer(fixture.unixEndpoint)
        for index in 0..<70 {
            _ = try await jobs.create {
                $0.path = "\(folder)/x"
                $0.key = "\(index)-" + String(repeating: "k", count: 60)
                $0.textField = String(repeating: "t", count: 200)
            }
        }
        let peer = try await RawPeer.greeted(fixture.unixEndpoint, maximumFrameBytes: 65_536)
        try await peer.send(request(1, method: Method.listJobs.rawValue))
        #expect(try await peer.words() == "END 1 INVALID_ARGUMENT client.max_frame_bytes")
        let page = wireBytes(Sae_V1_ListJobsRequest.with { $0.pageSize = 10 })
        try await peer.send(frame(.request, flags: .last, method: Method.listJobs.rawValue, stream: 3, message: page))
        #expect(try await peer.words() == "message")
    }

    @Test func `of more ended jobs than an owner may have, the oldest go`() async throws {
        let fixture = try ServiceFixture { $0.jobsMaximumEndedPerOwner = 3 }
        let peer = try await JobPeer(fixture.unixEndpoint)
        var ids: [String] = []
        for _ in 0..<10 {
            ids.append(try await peer.create().id)
            _ = try await peer.job(.cancelJob, ids[ids.count - 1])
        }
        // They are counted when a job is made.
        let next = try await peer.create().id
        #expect(await eventually { fixture.metric("sae_jobs{state=\"cancelled\"}") == 3 })
        let page = try await peer.call(.listJobs, Sae_V1_ListJobsRequest(), as: Sae_V1_ListJobsResponse.self)
        #expect(page.jobs.map(\.id) == [next] + ids.suffix(3).reversed())
        let folders = try FileManager.default.contentsOfDirectory(atPath: fixture.folder.path("jobs"))
        #expect(Set(folders).subtracting(["lock"]) == Set(page.jobs.map(\.id)))
    }
}
