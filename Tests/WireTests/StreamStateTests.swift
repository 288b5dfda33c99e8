import TestPeers
import Testing
import Wire

/// Streaming calls at the server and the client, without sockets.
@Suite struct StreamStateTests {
    private static let limits = {
        var limits = WireLimits()
        limits.initialWindow = 65_536
        limits.maximumStreamingStreams = 2
        return limits
    }()

    private func chunk(_ stream: UInt32, _ bytes: Int, flags: FrameFlags = []) -> [UInt8] {
        frame(.message, flags: flags, stream: stream, attachment: [UInt8](repeating: 97, count: bytes))
    }

    private func opened() -> Peer {
        var peer = Peer.server(limits: Self.limits)
        #expect(peer.receive(request(1, method: 2, flags: [])) == ["call 1 EmbedStream"])
        return peer
    }

    @Test func `messages of a stream are delivered until its half ends`() {
        var peer = opened()
        #expect(peer.receive(chunk(1, 10) + chunk(1, 20, flags: .last)) == ["message 1 10", "message 1 20 last"])
        #expect(peer.receive(chunk(1, 1)) == ["send GOAWAY INTERNAL bad_frame", "close bad_frame"])
        var other = opened()
        #expect(other.receive(frame(.end, stream: 1)) == ["half-closed 1"])
        #expect(other.receive(frame(.end, stream: 1)) == ["send GOAWAY INTERNAL bad_frame", "close bad_frame"])
    }

    @Test func `a message over the window ends the connection, and credit makes room again`() {
        var peer = opened()
        #expect(peer.receive(chunk(1, 65_536)) == ["message 1 65536"])
        // Less than half of the window is owed: nothing yet.
        #expect(peer.state.consume(32_767, of: 1, isLast: false) == nil)
        let credit = peer.state.consume(1, of: 1, isLast: false)
        #expect(credit == frame(.credit, stream: 1, argument: 32_768))
        #expect(peer.receive(chunk(1, 32_768)) == ["message 1 32768"])
        #expect(peer.state.consume(10, of: 1, isLast: true) == frame(.credit, stream: 1, argument: 10))
        #expect(peer.receive(chunk(1, 11)) == ["send GOAWAY INTERNAL flow_control", "close flow_control"])
    }

    @Test func `what may be sent is the client's window less what was sent, plus its credit`() {
        var peer = opened()
        #expect(peer.state.sendWindow(of: 1) == 65_536, "the window of the client's HELLO")
        peer.state.spend(60_000, on: 1)
        #expect(peer.receive(frame(.credit, stream: 1, argument: 1_000)) == ["credited 1 6536"])
        let largest = frame(.credit, stream: 1, argument: 0x7fff_ffff - 6_536)
        #expect(peer.receive(largest) == ["credited 1 2147483647"])
        #expect(peer.receive(frame(.credit, stream: 1, argument: 1)) == ["send GOAWAY INTERNAL flow_control", "close flow_control"])
    }

    @Test func `streaming calls have a limit of their own`() {
        var peer = opened()
        #expect(peer.receive(request(3, method: 11)) == ["call 3 Health.Watch"])
        let refusal = ["send END 5 RESOURCE_EXHAUSTED refused limits.max_streaming_per_connection"]
        #expect(peer.receive(request(5, method: 2, flags: [])) == refusal)
        #expect(peer.receive(request(7)) == ["call 7 Info"], "unary calls are not counted")
        let isOpen = peer.state.finish(stream: 1)
        #expect(isOpen)
        #expect(peer.receive(request(9, method: 2, flags: [])) == ["call 9 EmbedStream"])
    }

    @Test func `a call that takes one message needs LAST, and one that has ended drops what comes`() {
        var peer = Peer.server(limits: Self.limits)
        #expect(peer.receive(request(1, method: 11, flags: [])) == ["send END 1 UNIMPLEMENTED"])
        #expect(peer.receive(request(3, method: 2)) == ["call 3 EmbedStream"], "a stream without a chunk is one")
        #expect(peer.receive(chunk(3, 1)) == ["send GOAWAY INTERNAL bad_frame", "close bad_frame"])
        var other = opened()
        #expect(other.receive(frame(.cancel, stream: 1)) == ["cancelled 1", "send END 1 CANCELLED"])
        #expect(other.receive(chunk(1, 100_000) + frame(.end, stream: 1) + frame(.credit, stream: 1, argument: 5)) == [])
        #expect(other.state.sendWindow(of: 1) == nil)
    }

    @Test func `a client hears messages, credit and the end of its stream`() {
        var peer = Peer.client(limits: Self.limits)
        #expect(peer.state.openStream(.bidirectional) == 1)
        #expect(peer.state.sendWindow(of: 1) == 65_536)
        #expect(peer.receive(chunk(1, 5)) == ["message 1 5"])
        #expect(peer.receive(frame(.credit, stream: 1, argument: 7)) == ["credited 1 65543"])
        #expect(peer.receive(frame(.end, stream: 1)) == ["ended 1"])
        #expect(peer.receive(chunk(1, 5)) == [], "what was under way for an ended stream is dropped")
        #expect(peer.state.openStream(.bidirectional) == 3)
        #expect(peer.receive(frame(.end, stream: 3, argument: 10)) == ["failed 3 ABORTED"])
        #expect(peer.state.openStream(.bidirectional) == 5)
        #expect(peer.receive(chunk(5, 65_537)) == ["close flow_control"])
    }
}
