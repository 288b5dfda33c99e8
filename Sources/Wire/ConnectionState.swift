package import Messages
import SwiftProtobuf

/// What the owner of a connection does next, in order.
package enum ConnectionAction: Sendable {
    /// Bytes for the peer: one or more whole frames.
    case send([UInt8])
    /// The handshake is done; the peer's HELLO, with the agreed features in force from here on.
    case opened(Sae_V1_Hello)
    /// Server: a call to answer, its stream open until `finish` is called for it.
    case call(Call)
    /// A message of a streaming call; with the flag LAST its half ends here.
    case message(stream: UInt32, Frame)
    /// Server: the client's half of a streaming call has ended without a further message.
    case halfClosed(stream: UInt32)
    /// More may be sent on a streaming call.
    case credited(stream: UInt32)
    /// Server: the peer is not let in. Nothing it sends is heard any more; `close` is to be called, later.
    case rejected
    /// Client: a streaming call has ended well.
    case ended(stream: UInt32)
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

/// One call as it arrived: all of a unary one, the opening of a streaming one.
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
    enum Phase: Sendable { case awaitingHello, open, rejected, closing }

    package static let version: UInt32 = 1
    package static let crcFeature: UInt64 = 1

    let role: Role
    let limits: WireLimits
    var phase = Phase.awaitingHello
    var decoder: FrameDecoder
    var ownHello: Sae_V1_Hello
    var openStreams: Set<UInt32> = []
    /// Those of `openStreams` whose methods stream.
    var windows: [UInt32: StreamWindows] = [:]
    /// Cancelled streams for which something is still computed [HTTP/2 Rapid Reset, CVE-2023-44487].
    var keptPlaces: Set<UInt32> = []
    var highestStream: UInt32 = 0
    var lastAcceptedStream = WireLimits.maximumStreamID
    var refusesStreams = false
    var controlTokens: Double
    var controlUpdated: UInt64 = 0

    /// Server: asked for the peer's HELLO once; the roles that it has, or nil when it is not let in.
    package var admit: @Sendable (Sae_V1_Hello) -> [String]? = { _ in [] }

    /// True once both sides agreed on checksums.
    package internal(set) var usesCRC = false
    /// Largest payload that the peer accepts; the least that a peer may accept until its HELLO has arrived.
    package internal(set) var peerMaximumFrameBytes = WireLimits.leastFrameBytes
    /// The window that the peer gives each streaming half of ours at first.
    package internal(set) var peerInitialWindow = WireLimits.leastFrameBytes
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
        guard phase != .closing, phase != .rejected else { return [] }
        var bytes = bytes
        var actions: [ConnectionAction] = []
        do throws(Violation) {
            while phase != .closing, phase != .rejected, let event = try decoder.next(&bytes) {
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
    package mutating func finish(stream: UInt32) -> Bool {
        windows[stream] = nil
        return openStreams.remove(stream) != nil
    }

    /// Payload bytes that one more MESSAGE of a streaming call may have; nil when it has ended.
    package func sendWindow(of stream: UInt32) -> Int? { windows[stream]?.sendWindow }

    /// A MESSAGE with a payload of `bytes`, at most the window, goes out on a streaming call.
    package mutating func spend(_ bytes: Int, on stream: UInt32) { windows[stream]?.send(bytes) }

    /// Messages of `bytes` were consumed: the CREDIT frame to send, if one is due. `isLast` says that nothing is left to
    /// consume.
    package mutating func consume(_ bytes: Int, of stream: UInt32, isLast: Bool) -> [UInt8]? {
        guard let grant = windows[stream]?.consume(bytes, isLast: isLast), grant > 0 else { return nil }
        var header = FrameHeader(.credit, stream: stream)
        header.argument = UInt32(grant)
        var frame: [UInt8] = []
        FrameEncoder.append(header, withCRC: usesCRC, to: &frame)
        return frame
    }

    /// Server: nothing of a cancelled stream is left; its place may go to another.
    package mutating func release(stream: UInt32) { keptPlaces.remove(stream) }

    /// Server: a later request gets UNAVAILABLE and REFUSED; the bytes are a GOAWAY that says so.
    package mutating func drain(isFinal: Bool, reason: String = "draining") -> [UInt8] {
        if isFinal {
            refusesStreams = true
            lastAcceptedStream = highestStream
        }
        var message = Sae_V1_GoAway()
        message.lastStreamID = lastAcceptedStream
        message.reason = reason
        return encoded(.goAway, .ok, message)
    }

    /// GOAWAY with a cause, then close.
    package mutating func close(
        _ code: StatusCode, reason: String, retryAfter: UInt32 = 0
    ) -> [ConnectionAction] {
        phase = .closing
        openStreams.removeAll()
        windows.removeAll()
        // Nothing is heard any more: what has come of a frame need not be held.
        decoder = FrameDecoder(maximumFrameBytes: limits.maximumFrameBytes)
        var message = Sae_V1_GoAway()
        message.lastStreamID = highestStream
        message.reason = reason
        message.retryAfterMs = retryAfter
        let bytes = encoded(.goAway, code, message)
        return role == .server ? [.send(bytes), .close(reason: reason)] : [.close(reason: reason)]
    }

    /// Client: opens a stream for a call, of a method that streams or not; nil when the ids are used up or the server is
    /// going away.
    package mutating func openStream(_ shape: Method.Shape = .unary) -> UInt32? {
        guard phase == .open, !refusesStreams, highestStream < WireLimits.maximumStreamID else { return nil }
        highestStream += highestStream == 0 ? 1 : 2
        openStreams.insert(highestStream)
        if shape != .unary {
            windows[highestStream] = StreamWindows(own: limits.initialWindow, peer: peerInitialWindow)
        }
        return highestStream
    }

    /// An END frame for a call that is not answered, or without a failure for a streaming one that has ended well.
    package static func encodedEnd(stream: UInt32, _ failure: Failure?, withCRC: Bool) -> [UInt8] {
        var header = FrameHeader(.end, stream: stream)
        guard let failure else {
            var bytes: [UInt8] = []
            FrameEncoder.append(header, withCRC: withCRC, to: &bytes)
            return bytes
        }
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
    mutating func receive(
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

    mutating func receiveHello(
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
        if role == .server {
            guard let roles = admit(hello) else {
                phase = .rejected
                return actions.append(.rejected)
            }
            ownHello.roles = roles
            actions.append(.send(encodedHello()))
        }
        usesCRC = hello.features & ownHello.features & Self.crcFeature != 0
        decoder.requiresCRC = usesCRC
        decoder.isOpening = false
        peerMaximumFrameBytes = hello.maxFrameBytes
        peerInitialWindow = hello.initialWindow
        phase = .open
        actions.append(.opened(hello))
    }

    mutating func receivePing(
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
    mutating func spendControl(now: UInt64) throws(Violation) {
        let rate = Double(limits.maximumControlFramesPerSecond)
        if controlUpdated != 0, now > controlUpdated {
            controlTokens = min(5 * rate, controlTokens + rate * Double(now - controlUpdated) * 1e-9)
        }
        controlUpdated = now
        controlTokens -= 1
        if controlTokens < 0 { throw .controlFlood }
    }

    func refused(_ header: FrameHeader, _ failure: Failure) -> ConnectionAction {
        .refused(stream: header.stream, method: header.method, failure)
    }

    func encodedHello() -> [UInt8] {
        var bytes: [UInt8] = []
        FrameEncoder.append(FrameHeader(.hello), message: wireBytes(ownHello), withCRC: false, to: &bytes)
        return bytes
    }

    func encoded(_ type: FrameType, _ code: StatusCode, _ message: some Message) -> [UInt8] {
        var header = FrameHeader(type)
        header.argument = code.rawValue
        var bytes: [UInt8] = []
        FrameEncoder.append(header, message: wireBytes(message), withCRC: usesCRC, to: &bytes)
        return bytes
    }

    func parsed<M: Message>(_: M.Type, _ frame: Frame) -> M? { wireMessage(M.self, frame.message) }
}
