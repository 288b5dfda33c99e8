import Dispatch
import Messages
import SAEEngine
import SwiftProtobuf
import Transport
import Wire

/// The job methods that are one message each way.
extension Service {
    /// Answers at once what only reads what is known of jobs.
    func jobAnswer(_ call: Call, for peer: Peer) throws(Failure) -> Answer {
        switch call.method {
        case .getJob:
            let request = try methods.message(Sae_V1_JobRequest.self, call)
            return Self.answer(jobs.message(of: try jobs.job(request.id, for: peer)))
        default:
            return Self.answer(try list(try methods.message(Sae_V1_ListJobsRequest.self, call), for: peer))
        }
    }

    private func list(_ request: Sae_V1_ListJobsRequest, for peer: Peer) throws(Failure) -> Sae_V1_ListJobsResponse {
        try jobs.checkServing()
        guard request.pageSize <= 100 else { throw Failure(.invalidArgument, "a page has at most 100 jobs") }
        guard request.pageToken.isEmpty || JobID.isValid(request.pageToken) else {
            throw Failure(.invalidArgument, "the page token is none of this daemon's")
        }
        let states = Set(request.states.map(\.rawValue))
        let all = jobs.all.filter { job in
            (job.owner == peer.name || peer.roles.contains(.admin)) && (states.isEmpty || states.contains(job.phase.rawValue))
                && (request.pageToken.isEmpty || job.id < request.pageToken)
        }.sorted { $0.id > $1.id }
        let page = all.prefix(request.pageSize == 0 ? 100 : Int(request.pageSize))
        return .with {
            $0.jobs = page.map { jobs.message(of: $0) }
            $0.nextPageToken = page.count < all.count ? page.last?.id ?? "" : ""
        }
    }

    /// Does what changes a job, on a queue that may wait for the disk, and tells `completion` there.
    func controlJobs(
        _ call: Call, for peer: Peer, _ completion: @escaping @Sendable (Result<Answer, Failure>) -> Void
    ) throws(Failure) {
        try admission.checkState()
        let jobs = jobs
        switch call.method {
        case .createJob:
            let message = try methods.message(Sae_V1_CreateJobRequest.self, call)
            let spec = try JobRecord.Spec(message.spec, modelDimensions: serving.engine.dimensions)
            Self.perform(on: jobs.queue, completion) { () throws(Failure) in
                Self.answer(jobs.message(of: try jobs.create(spec, owner: peer.name)))
            }
        case .startJob:
            let message = try methods.message(Sae_V1_StartJobRequest.self, call)
            let job = try jobs.job(message.id, for: peer)
            Self.perform(on: job.queue, completion) { () throws(Failure) in
                try job.start(inputBytes: message.inputBytes, digest: Array(message.sha256), for: jobs)
                return Self.answer(jobs.message(of: job))
            }
        case .cancelJob:
            let job = try jobs.job(try methods.message(Sae_V1_JobRequest.self, call).id, for: peer)
            Self.perform(on: job.queue, completion) { () throws(Failure) in
                try jobs.cancel(job)
                return Self.answer(jobs.message(of: job))
            }
        default:
            let job = try jobs.job(try methods.message(Sae_V1_JobRequest.self, call).id, for: peer)
            Self.perform(on: job.queue, completion) { () throws(Failure) in
                try jobs.delete(job)
                return Answer(message: [], attachment: nil)
            }
        }
    }

    private static func perform(
        on queue: DispatchQueue, _ completion: @escaping @Sendable (Result<Answer, Failure>) -> Void,
        _ body: @escaping @Sendable () throws(Failure) -> Answer
    ) {
        queue.async { completion(Result { () throws(Failure) in try body() }) }
    }

    private static func answer(_ message: some SwiftProtobuf.Message) -> Answer {
        Answer(message: wireBytes(message), attachment: nil)
    }
}
