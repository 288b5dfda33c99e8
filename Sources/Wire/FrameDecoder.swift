import Bytes

/// Cuts a byte stream into frames. It holds only bytes that have arrived, never memory for an announced length,
/// and checks a header as soon as its 28 bytes are there.
package struct FrameDecoder: Sendable {
    package enum Event: Sendable, Equatable {
        case frame(Frame)
        /// A REQUEST over the limit, but within four times of it: its payload is dropped as it arrives.
        case oversizedRequest(FrameHeader)
    }

    /// Largest payload of a frame.
    package let maximumFrameBytes: UInt32
    /// True until the handshake is over: only HELLO or GOAWAY of at most `WireLimits.maximumHelloBytes` may come.
    package var isOpening = false
    /// Set once both sides agreed on it: every frame must carry a checksum.
    package var requiresCRC = false

    private var buffer: [UInt8] = []
    private var start = 0
    private var header: FrameHeader?
    /// What is wrong with `header`, told once its checksum has shown that it is not mere damage.
    private var violation: Violation?
    private var bytesToDrop = 0

    package init(maximumFrameBytes: UInt32) { self.maximumFrameBytes = maximumFrameBytes }

    /// True between frames: nothing of a next one has arrived.
    package var isIdle: Bool { start == buffer.count && bytesToDrop == 0 && header == nil }

    /// Frames that have come whole, those that were dropped as they came included.
    package private(set) var frameCount: UInt64 = 0

    /// Bytes held.
    package var bufferedBytes: Int { buffer.count - start }

    package mutating func append(_ bytes: UnsafeRawBufferPointer) {
        if start > 0 {
            buffer.removeSubrange(..<start)
            start = 0
        }
        let dropped = min(bytesToDrop, bytes.count)
        bytesToDrop -= dropped
        if dropped > 0 && bytesToDrop == 0 { frameCount += 1 }
        buffer.append(contentsOf: bytes[dropped...])
    }

    /// The next event, or nil until more bytes arrive. After a throw the decoder is spent.
    package mutating func next() throws(Violation) -> Event? {
        if header == nil {
            try checkMagic()
            guard bufferedBytes >= FrameHeader.byteCount else {
                releaseIfEmpty()
                return nil
            }
            if let refused = try beginFrame() { return refused }
        }
        guard let header, bufferedBytes >= FrameHeader.byteCount + Int(header.payloadLength) else { return nil }
        try checkCRC(header)
        if let violation { throw violation }
        let body = start + FrameHeader.byteCount
        let end = body + Int(header.payloadLength)
        let frame = Frame(header: header, payload: Array(buffer[body..<end]))
        start = end
        frameCount += 1
        self.header = nil
        releaseIfEmpty()
        return .frame(frame)
    }

    /// An idle connection holds no more than this.
    private static let idleBytes = 4_096

    private mutating func releaseIfEmpty() {
        guard start == buffer.count else { return }
        start = 0
        if buffer.capacity > Self.idleBytes { buffer = [] } else { buffer.removeAll(keepingCapacity: true) }
    }

    /// Wrong first bytes are refused before a whole header has arrived.
    private func checkMagic() throws(Violation) {
        for (index, byte) in buffer[start...].prefix(4).enumerated() where byte != FrameHeader.magic[index] {
            throw .badMagic
        }
    }

    /// Takes the header whose 28 bytes are there. Returns the event of a request that is too large.
    private mutating func beginFrame() throws(Violation) -> Event? {
        let (parsed, type) = parseHeader()
        var found: Violation?
        do throws(Violation) {
            guard type != nil else { throw .badFrame }
            try check(parsed)
        } catch {
            guard parsed.flags.contains(.crc), error != .frameTooLarge, !isOpening,
                parsed.payloadLength <= maximumFrameBytes
            else { throw error }
            found = error
        }
        if parsed.payloadLength > maximumFrameBytes { return try oversized(parsed) }
        violation = found
        header = parsed
        return nil
    }

    /// The header and its type, which is nil when this version does not know it.
    private func parseHeader() -> (FrameHeader, FrameType?) {
        buffer.withUnsafeBytes { bytes in
            func field<T: FixedWidthInteger>(_ offset: Int, _: T.Type) -> T {
                T(littleEndian: bytes.loadUnaligned(fromByteOffset: start + offset, as: T.self))
            }
            let type = FrameType(rawValue: bytes[start + 4])
            var header = FrameHeader(type ?? .ping, stream: field(8, UInt32.self))
            header.flags = FrameFlags(rawValue: bytes[start + 5])
            header.method = field(6, UInt16.self)
            header.payloadLength = field(12, UInt32.self)
            header.messageLength = field(16, UInt32.self)
            header.argument = field(20, UInt32.self)
            header.crc = field(24, UInt32.self)
            return (header, type)
        }
    }

    /// The rules that a header must keep whatever the state of the connection (service table "violation").
    private func check(_ header: FrameHeader) throws(Violation) {
        if requiresCRC && !header.flags.contains(.crc) { throw .badCRC }
        let allowed: FrameFlags =
            switch header.type {
            case .request, .message: [.crc, .last]
            case .end: [.crc, .refused]
            case .ping: [.crc, .acknowledgement]
            case .hello, .cancel, .credit, .goAway: [.crc]
            }
        guard allowed.isSuperset(of: header.flags) else { throw .badFrame }
        guard header.type == .request || header.method == 0 else { throw .badFrame }
        guard header.flags.contains(.crc) || header.crc == 0 else { throw .badFrame }
        let onConnection = header.type == .hello || header.type == .ping || header.type == .goAway
        let isStreamID = header.stream % 2 == 1 && header.stream <= WireLimits.maximumStreamID
        guard onConnection ? header.stream == 0 : isStreamID else { throw .badFrame }
        guard header.messageLength <= header.payloadLength else { throw .badFrame }
        if isOpening && header.type != .hello {
            guard header.type == .goAway, header.payloadLength <= WireLimits.maximumHelloBytes else { throw .badFrame }
        }
        switch header.type {
        case .hello:
            guard header.payloadLength <= WireLimits.maximumHelloBytes else { throw .frameTooLarge }
            guard header.argument == 0, header.messageLength == header.payloadLength else { throw .badFrame }
        case .message:
            guard header.argument == 0 else { throw .badFrame }
        case .cancel:
            guard header.argument == 0, header.payloadLength == 0 else { throw .badFrame }
        case .credit:
            guard header.payloadLength == 0, header.argument > 0 else { throw .badFrame }
            guard header.argument <= UInt32(Int32.max) else { throw .flowControl }
        case .ping:
            guard header.argument == 0, header.payloadLength == 8, header.messageLength == 0 else {
                throw .badFrame
            }
        case .end, .goAway:
            guard header.messageLength == header.payloadLength else { throw .badFrame }
        case .request: break
        }
    }

    private mutating func oversized(_ header: FrameHeader) throws(Violation) -> Event {
        guard UInt64(header.payloadLength) <= 4 * UInt64(maximumFrameBytes) else { throw .frameTooLarge }
        if header.type == .message { throw .flowControl }
        guard header.type == .request else { throw .frameTooLarge }
        start += FrameHeader.byteCount
        let present = min(bufferedBytes, Int(header.payloadLength))
        start += present
        bytesToDrop = Int(header.payloadLength) - present
        if bytesToDrop == 0 { frameCount += 1 }
        return .oversizedRequest(header)
    }

    private func checkCRC(_ header: FrameHeader) throws(Violation) {
        guard header.flags.contains(.crc) else { return }
        let crc = buffer.withUnsafeBytes { bytes in
            let body = start + FrameHeader.byteCount
            let head = crc32c(UnsafeRawBufferPointer(rebasing: bytes[start..<start + 24]))
            return crc32c(
                UnsafeRawBufferPointer(rebasing: bytes[body..<body + Int(header.payloadLength)]), seed: head)
        }
        guard crc == header.crc else { throw .badCRC }
    }
}
