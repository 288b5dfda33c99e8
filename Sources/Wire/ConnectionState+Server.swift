/// What a server makes of a client's frames.
extension ConnectionState {
    mutating func receiveFromClient(
        _ frame: Frame, now: UInt64, into actions: inout [ConnectionAction]
    ) throws(Violation) {
        let stream = frame.header.stream
        switch frame.header.type {
        case .request: try receiveRequest(frame, into: &actions)
        case .cancel, .credit:
            try spendControl(now: now)
            guard stream <= highestStream else { throw .badFrame }
            guard openStreams.contains(stream) else { return }
            guard frame.header.type == .cancel else { return try receiveCredit(frame, into: &actions) }
            openStreams.remove(stream)
            windows[stream] = nil
            keptPlaces.insert(stream)
            actions.append(.cancelled(stream: stream))
            let failure = Failure(.cancelled, "cancelled by the client")
            actions.append(.send(Self.encodedEnd(stream: stream, failure, withCRC: usesCRC)))
        case .message, .end:
            if frame.payloadCount == 0 && frame.header.type == .message { try spendControl(now: now) }
            if frame.header.type == .end, frame.header.argument != 0 || frame.payloadCount > 0
                || frame.header.flags.contains(.refused)
            { throw .badFrame }
            guard stream <= highestStream else { throw .badFrame }
            // What follows an answered or refused call is read and dropped.
            guard openStreams.contains(stream) else { return }
            try receiveHalf(frame, into: &actions)
        default: throw .badFrame
        }
    }

    mutating func receiveRequest(
        _ frame: Frame, into actions: inout [ConnectionAction]
    ) throws(Violation) {
        let header = frame.header
        try admitStreamID(header.stream)
        guard !refusesStreams else {
            let failure = Failure(.unavailable, "the server is draining", isRefused: true)
            return actions.append(refused(header, failure))
        }
        guard let method = Method(rawValue: header.method) else {
            return actions.append(refused(header, Failure(.unimplemented, "unknown method \(header.method)")))
        }
        guard header.flags.contains(.last) || method.takesMessages else {
            let failure = Failure(.unimplemented, "\(method.name) takes one message: its REQUEST needs the flag LAST")
            return actions.append(refused(header, failure))
        }
        guard openStreams.count + keptPlaces.count < limits.maximumStreams else {
            let failure = Failure(
                .resourceExhausted, "too many open streams", limit: "limits.max_streams_per_connection",
                value: UInt64(limits.maximumStreams), isRefused: true)
            return actions.append(refused(header, failure))
        }
        if method.shape != .unary {
            guard windows.count < limits.maximumStreamingStreams else {
                let failure = Failure(
                    .resourceExhausted, "too many open streaming calls", limit: "limits.max_streaming_per_connection",
                    value: UInt64(limits.maximumStreamingStreams), isRefused: true)
                return actions.append(refused(header, failure))
            }
            var window = StreamWindows(own: limits.initialWindow, peer: peerInitialWindow)
            window.peerIsDone = header.flags.contains(.last)
            windows[header.stream] = window
        }
        openStreams.insert(header.stream)
        actions.append(
            .call(
                Call(
                    stream: header.stream, method: method, timeoutMicroseconds: header.argument, frame: frame,
                    usesCRC: usesCRC)))
    }

    /// A message, or the end, of the peer's half of an open call.
    mutating func receiveHalf(_ frame: Frame, into actions: inout [ConnectionAction]) throws(Violation) {
        let stream = frame.header.stream
        // The REQUEST of a unary call was the client's whole half.
        guard var window = windows[stream], !window.peerIsDone else { throw .badFrame }
        if frame.header.type == .message { try window.receive(frame.payloadCount) }
        window.peerIsDone = frame.header.type == .end || frame.header.flags.contains(.last)
        windows[stream] = window
        actions.append(frame.header.type == .message ? .message(stream: stream, frame) : .halfClosed(stream: stream))
    }

    mutating func receiveCredit(_ frame: Frame, into actions: inout [ConnectionAction]) throws(Violation) {
        // No unary method has a half that takes credit.
        guard windows[frame.header.stream] != nil else { throw .badFrame }
        try windows[frame.header.stream]?.grant(Int(frame.header.argument))
        actions.append(.credited(stream: frame.header.stream))
    }

    mutating func refuseOversized(
        _ header: FrameHeader, into actions: inout [ConnectionAction]
    ) throws(Violation) {
        guard phase == .open, role == .server else { throw .badFrame }
        try admitStreamID(header.stream)
        let failure = Failure(
            .invalidArgument, "the request's payload of \(header.payloadLength) bytes is over the limit",
            limit: "limits.max_frame_bytes", value: UInt64(limits.maximumFrameBytes))
        actions.append(refused(header, failure))
    }

    /// A new stream id is larger than any before.
    mutating func admitStreamID(_ stream: UInt32) throws(Violation) {
        guard stream > highestStream else { throw .badFrame }
        highestStream = stream
    }
}
