import Foundation
import Messages
import SwiftProtobuf
import Wire

extension GoldenFrame {
    private static let id = "01jdgx8w5ze3q7m2k4n6p8r9st"

    private static let spec = Sae_V1_JobSpec.with {
        $0.key = "nightly"
        $0.upload = true
        $0.inputFormat = .jsonl
        $0.textField = "body"
        $0.output = .npy
        $0.encoding = .int8
        $0.dimensions = 128
        $0.truncate = true
        $0.failOnError = true
    }

    private static func request(_ name: String, _ meaning: String, _ method: Method) -> GoldenFrame {
        GoldenFrame(
            name, meaning, from: "client", .request, flags: .last, method: method, stream: 9,
            message: Sae_V1_JobRequest.with { $0.id = id })
    }

    static let jobs = [
        GoldenFrame(
            "createjob", "a job of JSON lines to int8 arrays, to be uploaded", from: "client", .request, flags: .last,
            method: .createJob, stream: 1, message: Sae_V1_CreateJobRequest.with { $0.spec = spec }),
        GoldenFrame(
            "createjob-answer", "the job waits for its input", from: "server", .message, flags: .last, stream: 1,
            message: Sae_V1_Job.with {
                $0.id = id
                $0.spec = spec
                $0.state = .uploading
                $0.owner = "uid:1000"
                $0.createdMs = 1_764_064_800_000
            }),
        GoldenFrame(
            "putjobinput-open", "the input goes on behind 8 MiB", from: "client", .request, method: .putJobInput, stream: 3,
            message: Sae_V1_PutJobInputRequest.with {
                $0.id = id
                $0.offset = 8_388_608
            }),
        GoldenFrame(
            "putjobinput-part", "bytes of the input, the last ones", from: "client", .message, flags: .last, stream: 3,
            attachment: Array("{\"body\":\"a cat\"}\n".utf8)),
        GoldenFrame(
            "putjobinput-answer", "all of it is on disk; END follows", from: "server", .message, stream: 3,
            message: Sae_V1_PutJobInputResponse.with { $0.durableBytes = 8_388_625 }),
        GoldenFrame(
            "startjob", "the input is complete", from: "client", .request, flags: .last, method: .startJob, stream: 5,
            message: Sae_V1_StartJobRequest.with {
                $0.id = id
                $0.inputBytes = 8_388_625
                $0.sha256 = .init((0..<32).map { UInt8($0 * 7) })
            }),
        request("getjob", "how is it?", .getJob),
        GoldenFrame(
            "getjob-answer", "half of it is done, one row has no vector, and the disk is full", from: "server", .message,
            flags: .last, stream: 9,
            message: Sae_V1_Job.with {
                $0.id = id
                $0.spec = spec
                $0.state = .running
                $0.owner = "uid:1000"
                $0.generation = 0x0123_4567_89ab_cdef
                $0.inputBytes = 8_388_625
                $0.inputDone = 4_194_304
                $0.rowsDone = 65_536
                $0.rowsFailed = 1
                $0.chunks = 8
                $0.createdMs = 1_764_064_800_000
                $0.startedMs = 1_764_064_801_000
                $0.stall = "the output cannot be written: the disk of the jobs is full"
                $0.rowsPerSecond = 12_345.5
            }),
        GoldenFrame(
            "listjobs", "five that are done or have failed, from a place on", from: "client", .request, flags: .last,
            method: .listJobs, stream: 11,
            message: Sae_V1_ListJobsRequest.with {
                $0.pageSize = 5
                $0.pageToken = id
                $0.states = [.done, .failed]
            }),
        GoldenFrame(
            "listjobs-answer", "one is done, one has failed, and there are more", from: "server", .message, flags: .last, stream: 11,
            message: Sae_V1_ListJobsResponse.with {
                $0.jobs = [
                    .with {
                        $0.id = id
                        $0.state = .done
                        $0.files = [
                            .with {
                                $0.name = "vectors.npy"
                                $0.bytes = 128
                                $0.sha256 = .init([1, 2, 3])
                            }
                        ]
                        $0.endedMs = 1_764_064_802_000
                    },
                    .with {
                        $0.id = "01jdgx8w5ze3q7m2k4n6p8r9sr"
                        $0.state = .failed
                        $0.error.message = "the model that the job began with serves no more"
                        $0.spec.path = "/srv/texts/a.txt"
                    },
                ]
                $0.nextPageToken = "01jdgx8w5ze3q7m2k4n6p8r9sr"
            }),
        request("watchjob", "tell me of it until it ends", .watchJob),
        GoldenFrame(
            "watchjob-message", "one job comes before it", from: "server", .message, stream: 9,
            message: Sae_V1_Job.with {
                $0.id = id
                $0.state = .queued
                $0.queuePlace = 1
            }),
        GoldenFrame(
            "getjoboutput", "a part of a file", from: "client", .request, flags: .last, method: .getJobOutput, stream: 13,
            message: Sae_V1_GetJobOutputRequest.with {
                $0.id = id
                $0.file = "vectors.npy"
                $0.offset = 128
                $0.length = 4
            }),
        GoldenFrame(
            "getjoboutput-message", "its bytes; END follows", from: "server", .message, stream: 13, attachment: [127, 0, 2, 254]),
        request("canceljob", "end it at its next chunk", .cancelJob),
        request("deletejob", "remove it and its files", .deleteJob),
        GoldenFrame("deletejob-answer", "it is gone", from: "server", .message, flags: .last, stream: 9),
    ]
}
