import Messages
import SwiftProtobuf
import TestPeers
import Testing
import Wire

/// The same rules at the client.
@Suite struct ClientStateTests {
    @Test func `streams are opened with odd rising ids`() {
        var peer = Peer.client()
        let ids = [peer.state.openStream(), peer.state.openStream(), peer.state.openStream()]
        #expect(ids == [1, 3, 5])
    }

    @Test func `no stream is opened before the handshake`() {
        var state = ConnectionState(role: .client, limits: WireLimits(), hello: Sae_V1_Hello())
        #expect(sentFrames(state.start()) == ["hello"])
        #expect(state.openStream() == nil)
    }

    @Test func `an answer and a status end their streams`() {
        var peer = Peer.client()
        _ = peer.state.openStream()
        _ = peer.state.openStream()
        #expect(peer.receive(frame(.message, flags: .last, stream: 3, attachment: [1])) == ["answer 3"])
        #expect(peer.receive(frame(.end, flags: .refused, stream: 1, argument: 8)) == ["failed 1 RESOURCE_EXHAUSTED refused"])
        #expect(peer.receive(frame(.end, stream: 1, argument: 8)) == [], "a second end is dropped")
        #expect(peer.state.openStreamCount == 0)
    }

    @Test func `an answer to a cancelled call is dropped`() {
        var peer = Peer.client()
        _ = peer.state.openStream()
        #expect(peer.state.finish(stream: 1) == true)
        #expect(peer.receive(frame(.message, flags: .last, stream: 1, attachment: [1])) == [])
    }

    @Test func `a graceful GOAWAY spares the streams that were begun`() {
        var peer = Peer.client()
        for _ in 0..<3 { _ = peer.state.openStream() }
        let goAway = Sae_V1_GoAway.with {
            $0.lastStreamID = 3
            $0.reason = "draining"
        }
        #expect(
            peer.receive(frame(.goAway, message: wireBytes(goAway))) == [
                "goaway OK draining", "failed 5 UNAVAILABLE refused",
            ])
        #expect(peer.state.openStream() == nil)
        #expect(peer.receive(frame(.message, flags: .last, stream: 1)) == ["answer 1"])
    }

    @Test func `a GOAWAY with a code ends all streams`() {
        var peer = Peer.client()
        for _ in 0..<2 { _ = peer.state.openStream() }
        let goAway = Sae_V1_GoAway.with {
            $0.lastStreamID = 3
            $0.reason = "bad_crc"
        }
        let actions = peer.receive(frame(.goAway, argument: 13, message: wireBytes(goAway)))
        #expect(actions.first == "goaway INTERNAL bad_crc" && actions.last == "close bad_crc")
        #expect(Set(actions.dropFirst().dropLast()) == ["failed 1 INTERNAL", "failed 3 INTERNAL"])
    }

    @Test(arguments: [
        frame(.message, flags: .last, stream: 3), frame(.end, stream: 3), frame(.message, stream: 1),
        frame(.request, flags: .last, method: 6, stream: 1), frame(.cancel, stream: 1), helloFrame(),
        frame(.end, stream: 1, message: [0xff]),
    ])
    func `a server that breaks the rules is left`(_ bytes: [UInt8]) {
        var peer = Peer.client()
        _ = peer.state.openStream()
        #expect(peer.receive(bytes).last == "close bad_frame")
        #expect(peer.state.openStream() == nil)
    }
}
