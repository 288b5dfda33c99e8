import Messages
import Synchronization
import Transport
import Wire

/// A call that the service answers when it has done what was asked: Reload, Drain, and what changes a job.
struct DeferredCall {
    let method: Method
    let arrival: UInt64
    let deadline: UInt64
}

/// Unary calls, from their arrival to their terminal frame.
extension ServerConnection {
    func take(_ call: Call, _ now: UInt64) {
        lastCall = now
        let serving = service.serving
        let arrived = Arrival(call: call, time: now, deadline: deadline(of: call, now, serving.configuration))
        do throws(Failure) {
            do throws(Failure) { try peer.check(call.method.role, for: call.method.name) } catch {
                service.authenticationFailed(id, reason: "role", peer: peer.name)
                throw error
            }
            switch call.method {
            case .info, .healthCheck: try answer(arrived, by: serving)
            case .embed, .similarity, .tokenize, .trace:
                try service.admission.checkState()
                let request = try Methods(serving).request(arrived, on: self)
                try admit(request)
                open[call.stream] = request
            case .embedStream: try openStream(arrived, by: serving)
            case .healthWatch: try openWatch(arrived)
            case .putJobInput, .watchJob, .getJobOutput: try openJobStream(arrived, by: serving)
            case .getJob, .listJobs:
                let answer = try service.jobAnswer(call, for: peer)
                try sendAtOnce(answer, of: arrived)
            case .reload, .drain, .createJob, .startJob, .cancelJob, .deleteJob: try takeControl(arrived)
            }
        } catch {
            if error.isRefused { service.refused(error, conn: id) }
            if state.finish(stream: call.stream) { sendEnd(of: call.stream, error) }
            service.ended(call.method, transport, error.code, since: now)
        }
    }

    /// Unary calls have a default; streaming ones run for as long as they like, unless the client says otherwise.
    private func deadline(of call: Call, _ now: UInt64, _ limits: Configuration) -> UInt64 {
        if call.timeoutMicroseconds > 0 {
            let asked = Duration.microseconds(Int64(call.timeoutMicroseconds))
            return now + min(asked, limits.maximumTimeout).nanoseconds
        }
        return call.method.shape == .unary ? now + limits.defaultTimeout.nanoseconds : .max
    }

    /// Answers on the spot what needs no worker.
    private func answer(_ arrived: Arrival, by serving: Serving) throws(Failure) {
        try sendAtOnce(try Methods(serving).answer(arrived.call, service), of: arrived)
    }

    private func sendAtOnce(_ answer: Answer, of arrived: Arrival) throws(Failure) {
        guard answer.message.count <= peerMaximumFrameBytes else {
            throw Failure(
                .invalidArgument, "the answer is over what the client accepts", limit: "client.max_frame_bytes",
                value: UInt64(peerMaximumFrameBytes))
        }
        try service.admission.checkOutput(
            answerBytes: answer.message.count, connectionBytes: reservedBytes + socket.outboxBytes)
        let stream = arrived.call.stream
        send(answer.frame(stream: stream, withCRC: arrived.call.usesCRC), endOf: stream)
        service.ended(arrived.call.method, transport, .ok, since: arrived.time)
    }

    /// Reserves what `request` needs and queues it.
    private func admit(_ request: Request) throws(Failure) {
        try service.admission.admit(request, to: queue, connectionBytes: reservedBytes + socket.outboxBytes)
        admitted(request)
    }

    /// The same for a chunk, which waits where the queue is full; false while another one waits.
    func admit(chunk request: Request) throws(Failure) -> Bool {
        guard try service.admission.admit(chunk: request, to: queue, connectionBytes: reservedBytes + socket.outboxBytes) else {
            return false
        }
        admitted(request)
        return true
    }

    private func admitted(_ request: Request) {
        hold(request, 1)
        // Counted at the admission; the next `settle` adds the payload.
        accounted += request.answerBytes
        service.metrics.requestTexts.observe(request.lengths.count)
    }

    /// What a queue of the service's own does.
    private func takeControl(_ arrived: Arrival) throws(Failure) {
        let (call, lane) = (arrived.call, lane)
        try service.control(call, for: peer) { [self] result in
            lane.ioQueue.async { [self] in
                answerDeferred(call, result)
                settle()
            }
        }
        // The answer comes in a later turn of this queue.
        deferred[call.stream] = DeferredCall(method: call.method, arrival: arrived.time, deadline: arrived.deadline)
    }

    private func answerDeferred(_ call: Call, _ result: Result<Answer, Failure>) {
        guard let waiting = deferred.removeValue(forKey: call.stream) else { return state.release(stream: call.stream) }
        lastCall = monotonicNanoseconds()
        switch result {
        case .success(let answer):
            send(answer.frame(stream: call.stream, withCRC: call.usesCRC), endOf: call.stream)
            service.ended(call.method, transport, .ok, since: waiting.arrival)
        case .failure(let failure):
            if state.finish(stream: call.stream) { sendEnd(of: call.stream, failure) }
            service.ended(call.method, transport, failure.code, since: waiting.arrival)
        }
    }

    func encoded(_ answer: Answer, of request: Request) -> [SendBuffer] {
        answer.frame(stream: request.stream, withCRC: request.usesCRC, isLast: request.method != .embedStream)
    }

    func complete(_ request: Request, _ outcome: RequestOutcome) {
        let isFirst = completions.withLock { completions in
            completions.append((request, outcome))
            return completions.count == 1
        }
        // One turn of the queue takes all that gathers until it runs.
        if isFirst { lane.ioQueue.async { [self] in takeCompletions() } }
    }

    private func takeCompletions() {
        let all = completions.withLock { completions in
            defer { completions.removeAll(keepingCapacity: true) }
            return completions
        }
        for (request, outcome) in all {
            if case .letGo = outcome {
                if abandoned[ObjectIdentifier(request)] != nil { letGo(request) }
            } else if request.method == .embedStream {
                finishChunk(request, outcome)
            } else {
                finish(request, outcome)
            }
        }
        settle()
    }

    /// The terminal frame of a request, unless its stream has ended already.
    func finish(_ request: Request, _ outcome: RequestOutcome) {
        guard open[request.stream] === request else { return }
        let now = monotonicNanoseconds()
        lastCall = now
        switch outcome {
        case .answered(let buffers) where now < request.deadline:
            open[request.stream] = nil
            hold(request, -1)
            send(buffers, endOf: request.stream)
            service.answered(request)
        case .failed(let failure): fail(request, failure)
        case .answered, .letGo: fail(request, Failure(.deadlineExceeded, "the deadline has passed"))
        }
    }

    func fail(_ request: Request, _ failure: Failure) {
        if state.finish(stream: request.stream) { sendEnd(of: request.stream, failure) }
        if failure.code == .deadlineExceeded { service.metrics.textsDropped[0].add(request.lengths.count) }
        open[request.stream] = nil
        abandon(request)
        service.ended(request.method, transport, failure.code, since: request.arrival)
    }

    func sendEnd(of stream: UInt32, _ failure: Failure?) {
        socket.enqueue(SendBuffer(ConnectionState.encodedEnd(stream: stream, failure, withCRC: state.usesCRC)))
    }

    private func send(_ buffers: [SendBuffer], endOf stream: UInt32) {
        guard state.finish(stream: stream) else { return }
        for buffer in buffers { socket.enqueue(buffer) }
    }

    /// Takes what is left of a request out of the queue; a worker that is at it stops at its next text.
    func abandon(_ request: Request) {
        abandoned[ObjectIdentifier(request)] = request
        if service.scheduler.remove(request, from: queue) { letGo(request) }
    }

    private func letGo(_ request: Request) {
        abandoned[ObjectIdentifier(request)] = nil
        hold(request, -1)
        if !abandoned.values.contains(where: { $0.stream == request.stream }) { state.release(stream: request.stream) }
    }

    /// Adds what a request holds to the sums, or takes it away.
    func hold(_ request: Request, _ sign: Int) {
        heldBytes += sign * request.heldBytes
        reservedBytes += sign * request.answerBytes
    }

    /// The client does not want the answer any more, and has been told so.
    func cancel(_ stream: UInt32) {
        if let request = open.removeValue(forKey: stream) {
            service.metrics.textsDropped[1].add(request.lengths.count)
            abandon(request)
            service.ended(request.method, transport, .cancelled, since: request.arrival)
        } else if let call = deferred.removeValue(forKey: stream) {
            // What was asked is done all the same, and then the place is free.
            service.ended(call.method, transport, .cancelled, since: call.arrival)
        } else {
            cancelStreaming(stream)
        }
    }

    /// Nobody is left to answer.
    func stopCalls() {
        for request in Array(open.values) {
            service.metrics.textsDropped[2].add(request.lengths.count)
            open[request.stream] = nil
            abandon(request)
            service.ended(request.method, transport, .cancelled, since: request.arrival)
        }
        for (_, call) in deferred { service.ended(call.method, transport, .cancelled, since: call.arrival) }
        deferred = [:]
        for stream in Array(watches.keys) + Array(streams.keys) + jobStreams.ids { cancelStreaming(stream) }
    }
}
