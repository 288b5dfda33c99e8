import Dispatch
import Messages
import SwiftProtobuf
import Transport
import Wire

/// The methods of administrators.
extension Service {
    /// Does what Reload or Drain asks for, or a method that changes a job, on a queue of its own, and tells `completion` the answer
    /// there.
    ///
    /// - Throws: `invalidArgument` when the message does not parse.
    func control(
        _ call: Call, for peer: Peer, _ completion: @escaping @Sendable (Result<Answer, Failure>) -> Void
    ) throws(Failure) {
        guard call.method == .reload || call.method == .drain else { return try controlJobs(call, for: peer, completion) }
        if call.method == .reload {
            _ = try methods.message(Sae_V1_ReloadRequest.self, call)
            controlQueue.async { [self] in
                completion(Result { () throws(Failure) in Answer(message: wireBytes(try reload().message), attachment: nil) })
            }
        } else {
            let request = try methods.message(Sae_V1_DrainRequest.self, call)
            let grace = request.graceMs == 0 ? nil : Duration.milliseconds(Int64(request.graceMs))
            controlQueue.async { [self] in
                completion(.success(Answer(message: wireBytes(beginDrain(grace: grace)), attachment: nil)))
            }
        }
    }

    /// Begins a drain, unless one is under way: to repeat the call hurries nothing.
    private func beginDrain(grace: Duration?) -> Sae_V1_DrainResponse {
        let counts = lanes.map { lane in lane.ioQueue.sync { lane.counts() } }
        if state == .serving { drain(grace: grace) }
        return .with {
            $0.streams = UInt32(clamping: counts.reduce(0) { $0 + $1.streams.values.reduce(0, +) })
            $0.connections = UInt32(clamping: counts.reduce(0) { $0 + $1.connections.values.reduce(0, +) })
        }
    }
}

extension ReloadOutcome {
    var message: Sae_V1_ReloadResponse {
        .with {
            $0.before = before
            $0.after = after
            $0.changed = changed
            $0.needsRestart = needsRestart
        }
    }
}
