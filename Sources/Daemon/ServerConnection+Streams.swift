import Messages
import SwiftProtobuf
import Transport
import Wire

/// A client that is told of the daemon's health at each change.
struct HealthWatch {
    let service: String
    let arrival: UInt64
    let deadline: UInt64
    /// What the client was told last.
    var told: Sae_V1_HealthCheckResponse.ServingStatus?
}

/// Streaming calls: Health.Watch and EmbedStream.
extension ServerConnection {
    func openWatch(_ arrived: Arrival) throws(Failure) {
        let request = try Methods(service.serving).message(Sae_V1_HealthCheckRequest.self, arrived.call)
        watches[arrived.call.stream] = HealthWatch(
            service: request.service, arrival: arrived.time, deadline: arrived.deadline)
        tellHealth(of: arrived.call.stream)
    }

    /// Tells every watch what it does not know. The client that takes nothing is told the last state when it does.
    func tellHealth() {
        for stream in Array(watches.keys) { tellHealth(of: stream) }
    }

    private func tellHealth(of stream: UInt32) {
        guard var watch = watches[stream] else { return }
        let status = Methods.health(of: watch.service, service) ?? .serviceUnknown
        let message = wireBytes(Sae_V1_HealthCheckResponse.with { $0.status = status })
        guard status != watch.told, let window = state.sendWindow(of: stream), message.count <= window else { return }
        watch.told = status
        watches[stream] = watch
        state.spend(message.count, on: stream)
        let answer = Answer(message: message, attachment: nil)
        for buffer in answer.frame(stream: stream, withCRC: state.usesCRC, isLast: false) { socket.enqueue(buffer) }
    }

    func openStream(_ arrived: Arrival, by serving: Serving) throws(Failure) {
        try service.admission.checkState()
        let stream = try Methods(serving).stream(arrived)
        stream.clientIsDone = arrived.call.frame.header.flags.contains(.last)
        streams[stream.id] = stream
    }

    /// A chunk of an EmbedStream. It waits for room in the client's window and in the queue.
    func take(_ frame: Frame, of stream: UInt32, _ now: UInt64) {
        if let upload = jobStreams.uploads[stream] {
            lastCall = now
            return takeInput(frame, of: upload)
        }
        guard let stream = streams[stream] else { return }
        lastCall = now
        stream.clientIsDone = frame.header.flags.contains(.last)
        // What comes after the end was decided is dropped: an answer to it would be taken for that of a chunk before it.
        guard stream.endReason == nil else { return }
        stream.waiting.append(EmbedStream.Waiting(frame: frame, arrival: now))
        heldBytes += frame.payloadCount
    }

    func halfClosed(_ stream: UInt32) {
        streams[stream]?.clientIsDone = true
        if let upload = jobStreams.uploads[stream] { inputEnded(of: upload) }
    }

    func credited(_ stream: UInt32) {
        if watches[stream] != nil { tellHealth(of: stream) }
        if jobStreams.watches[stream] != nil { tellJobs() }
    }

    /// Sends what is ready, begins what may begin, ends what is done. Part of every `settle`.
    func resumeStreams() {
        for stream in streams.values.sorted(by: { $0.id < $1.id }) {
            sendReady(stream)
            do throws(Failure) {
                while try beginChunk(of: stream) {}
            } catch {
                endStream(stream, error)
                continue
            }
            guard stream.running.isEmpty, stream.waiting.isEmpty else { continue }
            if stream.clientIsDone || stream.endReason != nil { endStream(stream, stream.endReason) }
        }
    }

    /// Begins the next chunk; false when there is none, or none may begin now.
    private func beginChunk(of stream: EmbedStream) throws(Failure) -> Bool {
        guard let waiting = stream.waiting.first, let window = state.sendWindow(of: stream.id) else { return false }
        let request: EmbedCall
        if let prepared = stream.prepared {
            request = prepared
        } else {
            request = try Methods(stream.serving).chunk(
                waiting, of: stream, on: self, window: Int(state.peerInitialWindow))
            stream.prepared = request
        }
        let most = request.answerBytes
        // Computed only when the answer fits: a reader that pauses holds input, never output.
        guard stream.promised + most <= window else { return false }
        do throws(Failure) {
            guard try admit(chunk: request) else { return false }
        } catch {
            // Under overload a chunk waits, and with it the client, whose credit is not returned.
            guard error.isRefused else { throw error }
            return false
        }
        stream.prepared = nil
        stream.waiting.removeFirst()
        // `admit` counts the payload as the request's.
        heldBytes -= waiting.frame.payloadCount
        stream.promised += most
        stream.running.append(EmbedStream.Running(request: request, payload: waiting.frame.payloadCount))
        return true
    }

    func finishChunk(_ request: Request, _ outcome: RequestOutcome) {
        guard let stream = streams[request.stream],
            let index = stream.running.firstIndex(where: { $0.request === request })
        else { return }
        lastCall = monotonicNanoseconds()
        switch outcome {
        case .answered(let buffers) where lastCall < request.deadline: stream.running[index].answer = buffers
        case .failed(let failure):
            // The scorer failed in the midst of the stream.
            let isRetired = failure.code == .failedPrecondition
            endStream(stream, isRetired ? Failure(.aborted, "generation_retired") : failure)
        case .answered, .letGo: endStream(stream, Failure(.deadlineExceeded, "the deadline has passed"))
        }
    }

    /// Sends the answers that are due, in the order of the chunks.
    private func sendReady(_ stream: EmbedStream) {
        while let first = stream.running.first, let answer = first.answer {
            stream.running.removeFirst()
            stream.promised -= first.request.answerBytes
            hold(first.request, -1)
            state.spend(answer.reduce(-FrameHeader.byteCount) { $0 + $1.count }, on: stream.id)
            for buffer in answer { socket.enqueue(buffer) }
            service.chunkAnswered(first.request)
            let isLast = stream.running.isEmpty && stream.waiting.isEmpty
            if let credit = state.consume(first.payload, of: stream.id, isLast: isLast) { socket.enqueue(SendBuffer(credit)) }
        }
    }

    /// END, and nothing more is computed. Nil: with status OK.
    func endStream(_ stream: EmbedStream, _ failure: Failure?) {
        if state.finish(stream: stream.id) { sendEnd(of: stream.id, failure) }
        forget(stream, reason: failure?.code == .deadlineExceeded ? 0 : 1)
        service.ended(.embedStream, transport, failure?.code ?? .ok, since: stream.arrival)
    }

    func cancelStreaming(_ stream: UInt32) {
        if let watch = watches.removeValue(forKey: stream) {
            state.release(stream: stream)
            service.ended(.healthWatch, transport, .cancelled, since: watch.arrival)
        } else if let stream = streams[stream] {
            _ = state.finish(stream: stream.id)
            forget(stream, reason: 1)
            service.ended(.embedStream, transport, .cancelled, since: stream.arrival)
        } else if !cancelJobStream(stream) {
            state.release(stream: stream)
        }
    }

    /// `reason` is the index of the label of `sae_texts_dropped_total`.
    private func forget(_ stream: EmbedStream, reason: Int) {
        streams[stream.id] = nil
        for waiting in stream.waiting { heldBytes -= waiting.frame.payloadCount }
        if stream.running.isEmpty { state.release(stream: stream.id) }
        for chunk in stream.running { abandoned[ObjectIdentifier(chunk.request)] = chunk.request }
        for chunk in stream.running {
            service.metrics.textsDropped[reason].add(chunk.request.lengths.count)
            abandon(chunk.request)
        }
    }

    /// Ends the watches of a connection that is to go.
    func endWatches(_ failure: Failure) {
        for (stream, watch) in watches {
            if state.finish(stream: stream) { sendEnd(of: stream, failure) }
            service.ended(.healthWatch, transport, failure.code, since: watch.arrival)
        }
        watches = [:]
    }

    /// Another generation serves: streams keep theirs, but at most two old ones are kept. What workers have of them is
    /// answered, and nothing after it.
    func generationChanged(to generation: Generation) {
        for stream in streams.values where stream.serving.generation.number + 2 < generation.number {
            guard !stream.clientIsDone || !stream.waiting.isEmpty else { continue }
            stream.endReason = Failure(.aborted, "generation_retired")
            for waiting in stream.waiting { heldBytes -= waiting.frame.payloadCount }
            stream.waiting = []
            stream.prepared = nil
        }
        settle()
    }
}
