package import Messages
package import SwiftProtobuf

/// What the owner of a connection does next, in order.
package enum ConnectionAction: Sendable {
    /// Bytes for the peer: one or more whole frames.
    case send([UInt8])
    /// The handshake is done; the peer's HELLO, with the agreed features in force from here on.
    case opened(Sae_V1_Hello)
    /// Server: a call to answer, its stream open until `finish` is called for it.
    case call(Call)
    /// Server: the rules refuse a call, which was never open: its END is to be sent. The method's number is as it came.
    case refused(stream: UInt32, method: UInt16, Failure)
    /// Server: the client no longer wants the answer; the stream has ended already, and keeps its place in the
    /// stream count until `release` is called for it.
    case cancelled(stream: UInt32)
    /// Client: the answer of a unary call; the stream has ended.
    case answer(Frame)
    /// Client: the terminal status of a call that was not answered; the stream has ended.
    case failed(stream: UInt32, Failure)
    /// Client: the server is going away; streams above `lastStream` were not begun.
    case goAway(StatusCode, Sae_V1_GoAway)
    /// Send what is queued, then close politely. No further bytes are to be fed in.
    case close(reason: String)
}

/// One unary call as it arrived.
package struct Call: Sendable {
    package let stream: UInt32
    package let method: Method
    /// Time the client gives, in microseconds; 0 = the server's default.
    package let timeoutMicroseconds: UInt32
    /// Message, then attachment.
    package let frame: Frame
    /// Frames of the answer carry a checksum.
    package let usesCRC: Bool

    package init(stream: UInt32, method: Method, timeoutMicroseconds: UInt32, frame: Frame, usesCRC: Bool) {
        self.stream = stream
        self.method = method
        self.timeoutMicroseconds = timeoutMicroseconds
        self.frame = frame
        self.usesCRC = usesCRC
    }
}

/// The rules of one connection, as a value: bytes and frames in, actions out, no I/O and no clock of its own.
/// Server and client are its two roles (service specification, section 2).
package struct ConnectionState: Sendable {
    package enum Role: Sendable { case server, client }
    private enum Phase: Sendable { case awaitingHello, open, closing }

    package static let version: UInt32 = 1
    package static let crcFeature: UInt64 = 1

    private let role: Role
    private let limits: WireLimits
    private var phase = Phase.awaitingHello
    private var decoder: FrameDecoder
    private var ownHello: Sae_V1_Hello
    private var openStreams: Set<UInt32> = []
    /// Cancelled streams for which something is still computed [HTTP/2 Rapid Reset, CVE-2023-44487].
    private var keptPlaces: Set<UInt32> = []
    private var highestStream: UInt32 = 0
    private var lastAcceptedStream = WireLimits.maximumStreamID
    private var refusesStreams = false
    private var controlTokens: Double
    private var controlUpdated: UInt64 = 0

    /// True once both sides agreed on checksums.
    package private(set) var usesCRC = false
    /// Largest payload that the peer accepts; the least that a peer may accept until its HELLO has arrived.
    package private(set) var peerMaximumFrameBytes = WireLimits.leastFrameBytes
    package var openStreamCount: Int { openStreams.count }
    package var isOpen: Bool { phase == .open }
    /// Bytes of an unfinished frame are held.
    package var isInsideFrame: Bool { !decoder.isIdle }
    package var bufferedBytes: Int { decoder.bufferedBytes }
    /// Frames that have come whole.
    package var frameCount: UInt64 { decoder.frameCount }

    /// `hello` is what this side will say; versions, frame size and window are filled in here.
    package init(role: Role, limits: WireLimits, hello: Sae_V1_Hello) {
        self.role = role
        self.limits = limits
        decoder = FrameDecoder(maximumFrameBytes: limits.maximumFrameBytes)
        decoder.isOpening = true
        decoder.reservesAhead = role == .client
        controlTokens = 5 * Double(limits.maximumControlFramesPerSecond)
        ownHello = hello
        ownHello.versionMin = Self.version
        ownHello.versionMax = Self.version
        ownHello.maxFrameBytes = limits.maximumFrameBytes
        ownHello.initialWindow = limits.initialWindow
        // The server agrees to checksums whenever the client wants them.
        ownHello.features = role == .server ? Self.crcFeature : hello.features & Self.crcFeature
    }

    /// Client: the HELLO that opens the connection.
    package mutating func start() -> [UInt8] { encodedHello() }

    /// Takes bytes from the peer; `now` is a monotonic time in nanoseconds.
    package mutating func receive(_ bytes: UnsafeRawBufferPointer, now: UInt64) -> [ConnectionAction] {
        guard phase != .closing else { return [] }
        var bytes = bytes
        var actions: [ConnectionAction] = []
        do throws(Violation) {
            while phase != .closing, let event = try decoder.next(&bytes) {
                switch event {
                case .frame(let frame): try receive(frame, now: now, into: &actions)
                case .oversizedRequest(let header): try refuseOversized(header, into: &actions)
                }
            }
        } catch {
            actions += close(error.code, reason: error.reason)
        }
        return actions
    }

    /// Server: true when the stream was open and its terminal frame may be sent; it ends here.
    package mutating func finish(stream: UInt32) -> Bool { openStreams.remove(stream) != nil }

    /// Server: nothing of a cancelled stream is left; its place may go to another.
    package mutating func release(stream: UInt32) { keptPlaces.remove(stream) }

    /// Server: a later request gets UNAVAILABLE and REFUSED; the bytes are a GOAWAY that says so.
    package mutating func drain(isFinal: Bool) -> [UInt8] {
        if isFinal {
            refusesStreams = true
            lastAcceptedStream = highestStream
        }
        var message = Sae_V1_GoAway()
        message.lastStreamID = lastAcceptedStream
        message.reason = "draining"
        return encoded(.goAway, .ok, message)
    }

    /// GOAWAY with a cause, then close.
    package mutating func close(
        _ code: StatusCode, reason: String, retryAfter: UInt32 = 0
    ) -> [ConnectionAction] {
        phase = .closing
        openStreams.removeAll()
        // Nothing is heard any more: what has come of a frame need not be held.
        decoder = FrameDecoder(maximumFrameBytes: limits.maximumFrameBytes)
        var message = Sae_V1_GoAway()
        message.lastStreamID = highestStream
        message.reason = reason
        message.retryAfterMs = retryAfter
        let bytes = encoded(.goAway, code, message)
        return role == .server ? [.send(bytes), .close(reason: reason)] : [.close(reason: reason)]
    }

    /// Client: opens a stream for a call; nil when the ids are used up or the server is going away.
    package mutating func openStream() -> UInt32? {
        guard phase == .open, !refusesStreams, highestStream < WireLimits.maximumStreamID else { return nil }
        highestStream += highestStream == 0 ? 1 : 2
        openStreams.insert(highestStream)
        return highestStream
    }

    /// An END frame for a call that is not answered.
    package static func encodedEnd(stream: UInt32, _ failure: Failure, withCRC: Bool) -> [UInt8] {
        var header = FrameHeader(.end, stream: stream)
        header.argument = failure.code.rawValue
        if failure.isRefused { header.flags.insert(.refused) }
        var status = Sae_V1_Status()
        status.message = failure.message
        status.limit = failure.limit
        status.limitValue = failure.limitValue
        status.retryAfterMs = failure.retryAfterMilliseconds
        var bytes: [UInt8] = []
        FrameEncoder.append(header, message: wireBytes(status), withCRC: withCRC, to: &bytes)
        return bytes
    }

    /// A CANCEL frame; the caller forgets the stream with `finish`.
    package static func encodedCancel(stream: UInt32, withCRC: Bool) -> [UInt8] {
        var bytes: [UInt8] = []
        FrameEncoder.append(FrameHeader(.cancel, stream: stream), withCRC: withCRC, to: &bytes)
        return bytes
    }

    /// A PING; `payload` comes back in the answer.
    package static func encodedPing(_ payload: UInt64, withCRC: Bool) -> [UInt8] {
        var bytes: [UInt8] = []
        let attachment = withUnsafeBytes(of: payload.littleEndian) { Array($0) }
        FrameEncoder.append(FrameHeader(.ping), attachment: attachment, withCRC: withCRC, to: &bytes)
        return bytes
    }
}

extension ConnectionState {
    private mutating func receive(
        _ frame: Frame, now: UInt64, into actions: inout [ConnectionAction]
    ) throws(Violation) {
        guard phase == .open else {
            guard frame.header.type == .hello || (role == .client && frame.header.type == .goAway) else {
                throw .badFrame
            }
            if frame.header.type == .goAway { return try receiveGoAway(frame, into: &actions) }
            return try receiveHello(frame, into: &actions)
        }
        switch frame.header.type {
        case .hello: throw .badFrame
        case .goAway: try receiveGoAway(frame, into: &actions)
        case .ping: try receivePing(frame, now: now, into: &actions)
        default:
            if role == .server {
                try receiveFromClient(frame, now: now, into: &actions)
            } else {
                try receiveFromServer(frame, into: &actions)
            }
        }
    }

    private mutating func receiveHello(
        _ frame: Frame, into actions: inout [ConnectionAction]
    ) throws(Violation) {
        guard let hello = parsed(Sae_V1_Hello.self, frame), frame.attachment.isEmpty,
            hello.software.utf8.count <= 128,
            hello.maxFrameBytes >= WireLimits.leastFrameBytes,
            hello.initialWindow >= WireLimits.leastFrameBytes
        else { throw .badFrame }
        guard hello.versionMin <= Self.version, hello.versionMax >= Self.version else {
            throw .unsupportedVersion
        }
        if role == .server { actions.append(.send(encodedHello())) }
        usesCRC = hello.features & ownHello.features & Self.crcFeature != 0
        decoder.requiresCRC = usesCRC
        decoder.isOpening = false
        peerMaximumFrameBytes = hello.maxFrameBytes
        phase = .open
        actions.append(.opened(hello))
    }

    private mutating func receiveFromClient(
        _ frame: Frame, now: UInt64, into actions: inout [ConnectionAction]
    ) throws(Violation) {
        let stream = frame.header.stream
        switch frame.header.type {
        case .request: try receiveRequest(frame, into: &actions)
        case .cancel, .credit:
            try spendControl(now: now)
            guard stream <= highestStream else { throw .badFrame }
            guard openStreams.contains(stream) else { return }
            // No unary method has a half that takes credit.
            guard frame.header.type == .cancel else { throw .badFrame }
            openStreams.remove(stream)
            keptPlaces.insert(stream)
            actions.append(.cancelled(stream: stream))
            let failure = Failure(.cancelled, "cancelled by the client")
            actions.append(.send(Self.encodedEnd(stream: stream, failure, withCRC: usesCRC)))
        case .message, .end:
            if frame.payloadCount == 0 && frame.header.type == .message { try spendControl(now: now) }
            if frame.header.type == .end, frame.header.argument != 0 || frame.payloadCount > 0
                || frame.header.flags.contains(.refused)
            { throw .badFrame }
            // Every method is unary, so the REQUEST was the client's whole half; what follows an answered or
            // refused call is read and dropped.
            guard stream <= highestStream, !openStreams.contains(stream) else { throw .badFrame }
        default: throw .badFrame
        }
    }

    private mutating func receiveRequest(
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
        guard header.flags.contains(.last) else {
            let failure = Failure(.unimplemented, "\(method.name) is unary: its REQUEST needs the flag LAST")
            return actions.append(refused(header, failure))
        }
        guard openStreams.count + keptPlaces.count < limits.maximumStreams else {
            let failure = Failure(
                .resourceExhausted, "too many open streams", limit: "limits.max_streams_per_connection",
                value: UInt64(limits.maximumStreams), isRefused: true)
            return actions.append(refused(header, failure))
        }
        openStreams.insert(header.stream)
        actions.append(
            .call(
                Call(
                    stream: header.stream, method: method, timeoutMicroseconds: header.argument, frame: frame,
                    usesCRC: usesCRC)))
    }

    private mutating func refuseOversized(
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
    private mutating func admitStreamID(_ stream: UInt32) throws(Violation) {
        guard stream > highestStream else { throw .badFrame }
        highestStream = stream
    }

    private mutating func receiveFromServer(
        _ frame: Frame, into actions: inout [ConnectionAction]
    ) throws(Violation) {
        let stream = frame.header.stream
        guard stream <= highestStream else { throw .badFrame }
        switch frame.header.type {
        case .message:
            guard frame.header.flags.contains(.last) else { throw .badFrame }
            if openStreams.remove(stream) != nil { actions.append(.answer(frame)) }
        case .end:
            guard let status = parsed(Sae_V1_Status.self, frame) else { throw .badFrame }
            guard openStreams.remove(stream) != nil else { return }
            let failure = Failure(
                StatusCode(rawValue: frame.header.argument) ?? .unknown, status.message, limit: status.limit,
                value: status.limitValue, retryAfter: status.retryAfterMs,
                isRefused: frame.header.flags.contains(.refused))
            actions.append(.failed(stream: stream, failure))
        case .credit: return
        default: throw .badFrame
        }
    }

    private mutating func receiveGoAway(
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
            let failure = Failure(
                code == .ok ? .unavailable : code, "the server went away: \(message.reason)",
                retryAfter: message.retryAfterMs, isRefused: stream > message.lastStreamID)
            actions.append(.failed(stream: stream, failure))
        }
        if code != .ok { actions.append(.close(reason: message.reason)) }
    }

    private mutating func receivePing(
        _ frame: Frame, now: UInt64, into actions: inout [ConnectionAction]
    ) throws(Violation) {
        if role == .server { try spendControl(now: now) }
        guard !frame.header.flags.contains(.acknowledgement) else { return }
        var header = FrameHeader(.ping)
        header.flags = [.acknowledgement]
        var bytes: [UInt8] = []
        FrameEncoder.append(header, attachment: frame.attachment, withCRC: usesCRC, to: &bytes)
        actions.append(.send(bytes))
    }

    /// Token bucket over the frames that cost the sender nothing.
    private mutating func spendControl(now: UInt64) throws(Violation) {
        let rate = Double(limits.maximumControlFramesPerSecond)
        if controlUpdated != 0, now > controlUpdated {
            controlTokens = min(5 * rate, controlTokens + rate * Double(now - controlUpdated) * 1e-9)
        }
        controlUpdated = now
        controlTokens -= 1
        if controlTokens < 0 { throw .controlFlood }
    }

    private func refused(_ header: FrameHeader, _ failure: Failure) -> ConnectionAction {
        .refused(stream: header.stream, method: header.method, failure)
    }

    private func encodedHello() -> [UInt8] {
        var bytes: [UInt8] = []
        FrameEncoder.append(FrameHeader(.hello), message: wireBytes(ownHello), withCRC: false, to: &bytes)
        return bytes
    }

    private func encoded(_ type: FrameType, _ code: StatusCode, _ message: some Message) -> [UInt8] {
        var header = FrameHeader(type)
        header.argument = code.rawValue
        var bytes: [UInt8] = []
        FrameEncoder.append(header, message: wireBytes(message), withCRC: usesCRC, to: &bytes)
        return bytes
    }

    private func parsed<M: Message>(_: M.Type, _ frame: Frame) -> M? { wireMessage(M.self, frame.message) }
}

/// The bytes of a message. None of ours has a required field, so encoding cannot fail.
package func wireBytes(_ message: some Message) -> [UInt8] {
    guard let bytes: [UInt8] = try? message.serializedBytes() else {
        preconditionFailure("a proto3 message always serialises")
    }
    return bytes
}

/// The message in `bytes`, or nil when they are not one. Nesting is limited to 16.
package func wireMessage<M: Message>(_: M.Type, _ bytes: some Collection<UInt8>) -> M? {
    var options = BinaryDecodingOptions()
    options.messageDepthLimit = 16
    return try? M(serializedBytes: Array(bytes), options: options)
}
