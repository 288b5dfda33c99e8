import Messages

/// What a client makes of a server's frames.
extension ConnectionState {
    mutating func receiveFromServer(
        _ frame: Frame, into actions: inout [ConnectionAction]
    ) throws(Violation) {
        let stream = frame.header.stream
        guard stream <= highestStream else { throw .badFrame }
        switch frame.header.type {
        case .message:
            if windows[stream] != nil { return try receiveHalf(frame, into: &actions) }
            guard frame.header.flags.contains(.last) else {
                // Of a streaming call that this side has given up.
                guard !openStreams.contains(stream) else { throw .badFrame }
                return
            }
            if openStreams.remove(stream) != nil { actions.append(.answer(frame)) }
        case .end:
            guard let status = parsed(Sae_V1_Status.self, frame) else { throw .badFrame }
            let isStreaming = windows.removeValue(forKey: stream) != nil
            guard openStreams.remove(stream) != nil else { return }
            if isStreaming, frame.header.argument == 0 { return actions.append(.ended(stream: stream)) }
            let failure = Failure(
                StatusCode(rawValue: frame.header.argument) ?? .unknown, status.message, limit: status.limit,
                value: status.limitValue, retryAfter: status.retryAfterMs,
                isRefused: frame.header.flags.contains(.refused))
            actions.append(.failed(stream: stream, failure))
        case .credit:
            guard openStreams.contains(stream) else { return }
            try receiveCredit(frame, into: &actions)
        default: throw .badFrame
        }
    }

    mutating func receiveGoAway(
        _ frame: Frame, into actions: inout [ConnectionAction]
    ) throws(Violation) {
        guard role == .client else {
            // A client says GOAWAY before it closes; its open calls are still answered.
            guard frame.header.argument == 0 else { throw .badFrame }
            return
        }
        guard let message = parsed(Sae_V1_GoAway.self, frame) else { throw .badFrame }
        let code = StatusCode(rawValue: frame.header.argument) ?? .unknown
        refusesStreams = true
        if code != .ok { phase = .closing }
        let lost = openStreams.filter { code != .ok || $0 > message.lastStreamID }.sorted()
        actions.append(.goAway(code, message))
        for stream in lost {
            openStreams.remove(stream)
            windows[stream] = nil
            let failure = Failure(
                code == .ok ? .unavailable : code, "the server went away: \(message.reason)",
                retryAfter: message.retryAfterMs, isRefused: stream > message.lastStreamID)
            actions.append(.failed(stream: stream, failure))
        }
        if code != .ok { actions.append(.close(reason: message.reason)) }
    }
}
