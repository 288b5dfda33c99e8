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

    /// A role that trusts its peer with memory: room for a whole attachment is reserved when its length is known.
    package var reservesAhead = false

    /// The first bytes of a header that is not whole.
    private var head: [UInt8] = []
    private var header: FrameHeader?
    private var message: [UInt8] = []
    private var attachment: [UInt8] = []
    /// Of what has arrived of the frame under way.
    private var crc: UInt32 = 0
    /// What is wrong with `header`, told once its checksum has shown that it is not mere damage.
    private var violation: Violation?
    private var bytesToDrop = 0

    package init(maximumFrameBytes: UInt32) { self.maximumFrameBytes = maximumFrameBytes }

    /// True between frames: nothing of a next one has arrived.
    package var isIdle: Bool { head.isEmpty && bytesToDrop == 0 && header == nil }

    /// Frames that have come whole, those that were dropped as they came included.
    package private(set) var frameCount: UInt64 = 0

    /// Bytes held.
    package var bufferedBytes: Int {
        header == nil ? head.count : FrameHeader.byteCount + message.count + attachment.count
    }

    /// Takes bytes from the front of `bytes` up to the end of the next event and returns it; nil when there are none left
    /// and more must arrive. After a throw the decoder is spent.
    package mutating func next(_ bytes: inout UnsafeRawBufferPointer) throws(Violation) -> Event? {
        if bytesToDrop > 0 {
            let dropped = min(bytesToDrop, bytes.count)
            bytes = UnsafeRawBufferPointer(rebasing: bytes[dropped...])
            bytesToDrop -= dropped
            guard bytesToDrop == 0 else { return nil }
            frameCount += 1
        }
        if header == nil {
            guard let first = try takeHeader(&bytes) else { return nil }
            if let refused = try begin(first) { return refused }
        }
        guard let header else { return nil }
        let messageLength = Int(min(header.messageLength, header.payloadLength))
        let attachmentLength = Int(header.payloadLength) - messageLength
        let checks = header.flags.contains(.crc)
        Self.take(&bytes, into: &message, messageLength, &crc, checks: checks, reserves: reservesAhead)
        guard message.count == messageLength else { return nil }
        Self.take(&bytes, into: &attachment, attachmentLength, &crc, checks: checks, reserves: reservesAhead)
        guard attachment.count == attachmentLength else { return nil }
        guard crc == header.crc else { throw .badCRC }
        if let violation { throw violation }
        defer {
            (message, attachment) = ([], [])
            self.header = nil
        }
        frameCount += 1
        return .frame(Frame(header: header, message: message, attachment: attachment))
    }

    /// Moves bytes to the end of `field` until it holds `count`.
    private static func take(
        _ bytes: inout UnsafeRawBufferPointer, into field: inout [UInt8], _ count: Int, _ crc: inout UInt32, checks: Bool,
        reserves: Bool
    ) {
        let taken = UnsafeRawBufferPointer(rebasing: bytes.prefix(count - field.count))
        guard taken.count > 0 else { return }
        bytes = UnsafeRawBufferPointer(rebasing: bytes[taken.count...])
        if checks { crc = crc32c(taken, seed: crc) }
        if taken.count == count {
            field = Array(taken)
        } else {
            if reserves { field.reserveCapacity(count) }
            field.append(contentsOf: taken)
        }
    }

    /// The 28 bytes of a header, once they are there. Wrong first bytes are refused before.
    private mutating func takeHeader(_ bytes: inout UnsafeRawBufferPointer) throws(Violation) -> (FrameHeader, FrameType?)? {
        if head.isEmpty && bytes.count >= FrameHeader.byteCount {
            let whole = UnsafeRawBufferPointer(rebasing: bytes[..<FrameHeader.byteCount])
            bytes = UnsafeRawBufferPointer(rebasing: bytes[FrameHeader.byteCount...])
            try checkMagic(whole[..<4])
            return parsed(whole)
        }
        let part = bytes.prefix(FrameHeader.byteCount - head.count)
        head.append(contentsOf: part)
        bytes = UnsafeRawBufferPointer(rebasing: bytes[part.endIndex...])
        try checkMagic(head.prefix(4))
        guard head.count == FrameHeader.byteCount else { return nil }
        let whole = head
        head = []
        return whole.withUnsafeBytes { parsed($0) }
    }

    private func checkMagic(_ first: some Collection<UInt8>) throws(Violation) {
        guard first.elementsEqual(FrameHeader.magic.prefix(first.count)) else { throw .badMagic }
    }

    /// The header and its type, which is nil when this version does not know it.
    private mutating func parsed(_ bytes: UnsafeRawBufferPointer) -> (FrameHeader, FrameType?) {
        func field<T: FixedWidthInteger>(_ offset: Int, _: T.Type) -> T {
            T(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: T.self))
        }
        let type = FrameType(rawValue: bytes[4])
        var header = FrameHeader(type ?? .ping, stream: field(8, UInt32.self))
        header.flags = FrameFlags(rawValue: bytes[5])
        header.method = field(6, UInt16.self)
        header.payloadLength = field(12, UInt32.self)
        header.messageLength = field(16, UInt32.self)
        header.argument = field(20, UInt32.self)
        header.crc = field(24, UInt32.self)
        crc = header.flags.contains(.crc) ? crc32c(UnsafeRawBufferPointer(rebasing: bytes[..<24])) : 0
        return (header, type)
    }

    /// Begins a frame. Returns the event of a request that is too large.
    private mutating func begin(_ first: (header: FrameHeader, type: FrameType?)) throws(Violation) -> Event? {
        let header = first.header
        violation = nil
        do throws(Violation) {
            guard first.type != nil else { throw .badFrame }
            try check(header)
        } catch {
            guard header.flags.contains(.crc), error != .frameTooLarge, !isOpening,
                header.payloadLength <= maximumFrameBytes
            else { throw error }
            violation = error
        }
        if header.payloadLength > maximumFrameBytes { return try oversized(header) }
        self.header = header
        return nil
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
        bytesToDrop = Int(header.payloadLength)
        return .oversizedRequest(header)
    }
}
