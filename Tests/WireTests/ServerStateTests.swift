import Messages
import TestPeers
import Testing
import Wire

/// The table of violations and the life of streams, at the server, without sockets.
@Suite struct ServerStateTests {
    @Test func `a HELLO is answered and opens the connection`() {
        var peer = Peer(state: ConnectionState(role: .server, limits: WireLimits(), hello: Sae_V1_Hello()))
        #expect(peer.receive(helloFrame()) == ["send hello", "opened"])
        #expect(peer.state.isOpen && !peer.state.usesCRC && peer.state.peerMaximumFrameBytes == 65_536)
    }

    @Test func `both sides agree to checksums exactly when both offer them`() {
        #expect(Peer.server(checksums: true).state.usesCRC)
        #expect(!Peer.server(checksums: false).state.usesCRC)
    }

    /// What comes before the handshake, what is sent, and why the connection ends.
    @Test(arguments: [
        (helloFrame(versions: 2...3), "UNIMPLEMENTED unsupported_version"),
        (helloFrame(versions: 0...0), "UNIMPLEMENTED unsupported_version"),
        (helloFrame(maximumFrameBytes: 65_535), "INTERNAL bad_frame"),
        (helloFrame(window: 65_535), "INTERNAL bad_frame"),
        (helloFrame(software: String(repeating: "x", count: 129)), "INTERNAL bad_frame"),
        (frame(.hello, message: [0xff]), "INTERNAL bad_frame"),
        (frame(.hello, attachment: [1]), "INTERNAL bad_frame"),
        (frame(.hello, message: [UInt8](repeating: 0, count: 4_097)), "INVALID_ARGUMENT frame_too_large"),
        (request(1), "INTERNAL bad_frame"),
        // Only announced: nothing is to be held for it.
        (Array(frame(.request, flags: .last, method: 1, stream: 1, attachment: [UInt8](repeating: 0, count: 5_000))[..<28]), "INTERNAL bad_frame"),
        (
            Array(
                frame(.request, flags: .last, method: 1, stream: 1, attachment: [UInt8](repeating: 0, count: 5_000), checksum: true)[..<28]),
            "INTERNAL bad_frame"
        ),
        (Array(frame(.goAway, message: [UInt8](repeating: 0, count: 5_000))[..<28]), "INTERNAL bad_frame"),
        (frame(.ping, attachment: [UInt8](repeating: 0, count: 8)), "INTERNAL bad_frame"),
        (Array("GET / HTTP/1.1\r\n".utf8), "INTERNAL bad_magic"),
        ([0x16, 0x03, 0x01], "INTERNAL bad_magic"),
    ])
    func `a bad opening ends the connection`(_ bytes: [UInt8], _ goAway: String) {
        var peer = Peer(state: ConnectionState(role: .server, limits: WireLimits(), hello: Sae_V1_Hello()))
        let reason = goAway.split(separator: " ")[1]
        #expect(peer.receive(bytes) == ["send GOAWAY \(goAway)", "close \(reason)"])
        #expect(peer.receive(helloFrame()) == [], "nothing is heard after the end")
    }

    /// Every violation of the table on an open connection with the unary call 3 under way.
    @Test(arguments: [
        (frame(.cancel, stream: 3) { $0[4] = 0 }, "bad_frame"),
        (frame(.cancel, stream: 3) { $0[4] = 9 }, "bad_frame"),
        (frame(.cancel, flags: .last, stream: 3), "bad_frame"),
        (frame(.cancel, flags: FrameFlags(rawValue: 0x10), stream: 3), "bad_frame"),
        (frame(.cancel, stream: 3, argument: 1), "bad_frame"),
        (frame(.cancel, method: 1, stream: 3), "bad_frame"),
        (frame(.cancel, stream: 3, attachment: [0]), "bad_frame"),
        (frame(.cancel, stream: 0), "bad_frame"),
        (frame(.cancel, stream: 5), "bad_frame"),
        (frame(.cancel, stream: 2), "bad_frame"),
        (frame(.cancel, stream: 3) { $0[24] = 1 }, "bad_frame"),
        (frame(.credit, stream: 3, argument: 0), "bad_frame"),
        (frame(.credit, stream: 3, argument: 0x8000_0000), "flow_control"),
        (frame(.credit, stream: 3, argument: 1), "bad_frame"),
        (frame(.credit, stream: 5, argument: 1), "bad_frame"),
        (frame(.credit, stream: 3, argument: 1, attachment: [0]), "bad_frame"),
        (frame(.message, stream: 3, attachment: [0]), "bad_frame"),
        (frame(.message, stream: 5, attachment: [0]), "bad_frame"),
        (frame(.message, stream: 1, argument: 1, attachment: [0]), "bad_frame"),
        (frame(.end, stream: 3), "bad_frame"),
        (frame(.end, stream: 5), "bad_frame"),
        (frame(.end, stream: 1, argument: 3), "bad_frame"),
        (frame(.end, stream: 1, message: [0]), "bad_frame"),
        (frame(.end, flags: .refused, stream: 1), "bad_frame"),
        (request(3), "bad_frame"),
        (request(1), "bad_frame"),
        (request(4), "bad_frame"),
        (request(0), "bad_frame"),
        (request(0x8000_0001), "bad_frame"),
        (frame(.request, flags: .refused, method: 6, stream: 5), "bad_frame"),
        (request(5) { $0[16] = 1 }, "bad_frame"),
        (helloFrame(), "bad_frame"),
        (frame(.ping, attachment: [UInt8](repeating: 0, count: 7)), "bad_frame"),
        (frame(.ping, message: [0], attachment: [UInt8](repeating: 0, count: 7)), "bad_frame"),
        (frame(.ping, argument: 1, attachment: [UInt8](repeating: 0, count: 8)), "bad_frame"),
        (frame(.ping, stream: 1, attachment: [UInt8](repeating: 0, count: 8)), "bad_frame"),
        (frame(.goAway, argument: 1), "bad_frame"),
        (frame(.goAway, stream: 3), "bad_frame"),
        (frame(.ping, attachment: [UInt8](repeating: 0, count: 8), checksum: true) { $0[30] ^= 1 }, "bad_crc"),
        (Array("SAE2".utf8), "bad_magic"),
    ])
    func `a violation ends the connection with its reason`(_ bytes: [UInt8], _ reason: String) {
        var peer = Peer.server()
        #expect(peer.receive(request(1)) == ["call 1 Info"])
        #expect(peer.state.finish(stream: 1) == true)
        #expect(peer.receive(request(3)) == ["call 3 Info"])
        #expect(peer.receive(bytes) == ["send GOAWAY INTERNAL \(reason)", "close \(reason)"])
        #expect(peer.state.finish(stream: 3) == false, "an ended connection answers nothing")
    }

    @Test func `with checksums agreed, a frame without one is bad_crc`() {
        var peer = Peer.server(checksums: true)
        #expect(peer.receive(request(1, checksum: true)) == ["call 1 Info"])
        #expect(peer.receive(request(3)) == ["send GOAWAY INTERNAL bad_crc", "close bad_crc"])
    }

    @Test func `with checksums, a flipped bit anywhere never opens a stream`() {
        let good = frame(
            .request, flags: .last, method: 1, stream: 1, message: [10, 1, 5], attachment: Array("hello".utf8),
            checksum: true)
        for bit in 0..<good.count * 8 {
            var bytes = good
            bytes[bit / 8] ^= 1 << UInt8(bit % 8)
            var peer = Peer.server(checksums: true)
            let actions = peer.receive(bytes)
            let inLength = (12..<16).contains(bit / 8)
            if inLength {
                // A longer payload is waited for, or refused by its size; a shorter one is damage.
                #expect(!actions.contains { $0.hasPrefix("call") }, "bit \(bit)")
            } else {
                let reason = bit / 8 < 4 ? "bad_magic" : "bad_crc"
                #expect(actions == ["send GOAWAY INTERNAL \(reason)", "close \(reason)"], "bit \(bit)")
            }
        }
    }

    @Test func `a call is answered once`() {
        var peer = Peer.server()
        #expect(peer.receive(request(1)) == ["call 1 Info"])
        #expect(peer.state.openStreamCount == 1)
        #expect(peer.state.finish(stream: 1) == true)
        #expect(peer.state.finish(stream: 1) == false)
        #expect(peer.state.openStreamCount == 0)
    }

    @Test func `stream ids may have gaps, up to the largest`() {
        var peer = Peer.server()
        #expect(peer.receive(request(7) + request(0x7fff_ffff)) == ["call 7 Info", "call 2147483647 Info"])
    }

    @Test func `a call that this version does not know lives and dies alone`() {
        var peer = Peer.server()
        #expect(peer.receive(request(1, method: 99)) == ["send END 1 UNIMPLEMENTED"])
        #expect(peer.receive(request(3, method: 1, flags: [])) == ["send END 3 UNIMPLEMENTED"])
        #expect(peer.receive(frame(.message, flags: .last, stream: 3, attachment: [1])) == [])
        #expect(peer.receive(frame(.end, stream: 3)) == [])
        #expect(peer.receive(request(5)) == ["call 5 Info"])
    }

    @Test func `frames for an answered stream are dropped`() {
        var peer = Peer.server()
        _ = peer.receive(request(1))
        _ = peer.state.finish(stream: 1)
        let late = frame(.cancel, stream: 1) + frame(.message, stream: 1, attachment: [1, 2])
            + frame(.end, stream: 1) + frame(.credit, stream: 1, argument: 9)
        #expect(peer.receive(late + request(3)) == ["call 3 Info"])
    }

    @Test func `CANCEL ends the stream once`() {
        var peer = Peer.server()
        _ = peer.receive(request(1))
        #expect(peer.receive(frame(.cancel, stream: 1)) == ["cancelled 1", "send END 1 CANCELLED"])
        #expect(peer.receive(frame(.cancel, stream: 1)) == [])
        #expect(peer.state.finish(stream: 1) == false)
    }

    @Test func `a cancelled stream keeps its place until nothing of it is left`() {
        var limits = WireLimits()
        limits.maximumStreams = 1
        var peer = Peer.server(limits: limits)
        #expect(peer.receive(request(1)) == ["call 1 Info"])
        #expect(peer.receive(frame(.cancel, stream: 1)) == ["cancelled 1", "send END 1 CANCELLED"])
        let refusal = "RESOURCE_EXHAUSTED refused limits.max_streams_per_connection"
        #expect(peer.receive(request(3)) == ["send END 3 \(refusal)"])
        peer.state.release(stream: 1)
        #expect(peer.receive(request(5)) == ["call 5 Info"])
    }

    @Test func `frames are counted as they come whole`() {
        var limits = WireLimits()
        limits.maximumFrameBytes = 65_536
        var peer = Peer.server(limits: limits)
        let before = peer.state.frameCount
        let large = frame(.request, flags: .last, method: 1, stream: 1, attachment: [UInt8](repeating: 0, count: 65_537))
        _ = peer.receive(Array(large[..<40]))
        #expect(peer.state.frameCount == before)
        _ = peer.receive(Array(large[40...]) + request(3))
        #expect(peer.state.frameCount == before + 2)
    }

    @Test func `streams over the limit are refused and may come again`() {
        var limits = WireLimits()
        limits.maximumStreams = 2
        var peer = Peer.server(limits: limits)
        #expect(
            peer.receive(request(1) + request(3) + request(5)) == [
                "call 1 Info", "call 3 Info",
                "send END 5 RESOURCE_EXHAUSTED refused limits.max_streams_per_connection",
            ])
        _ = peer.state.finish(stream: 1)
        #expect(peer.receive(request(7)) == ["call 7 Info"])
    }

    @Test func `a draining server finishes what it has and refuses what comes`() {
        var peer = Peer.server()
        _ = peer.receive(request(1))
        #expect(sentFrames(peer.state.drain(isFinal: false)) == ["GOAWAY OK draining"])
        #expect(peer.receive(request(3)) == ["call 3 Info"])
        #expect(sentFrames(peer.state.drain(isFinal: true)) == ["GOAWAY OK draining"])
        #expect(peer.receive(request(5)) == ["send END 5 UNAVAILABLE refused"])
        #expect(peer.state.finish(stream: 3) == true)
    }

    @Test func `a PING comes back with its bytes, an echo does not`() throws {
        var peer = Peer.server()
        let ping = frame(.ping, attachment: [1, 2, 3, 4, 5, 6, 7, 8])
        let actions = ping.withUnsafeBytes { peer.state.receive($0, now: 1) }
        guard case .send(let echo)? = actions.first else { throw Absent() }
        #expect(echo == frame(.ping, flags: .acknowledgement, attachment: [1, 2, 3, 4, 5, 6, 7, 8]))
        #expect(peer.receive(frame(.ping, flags: .acknowledgement, attachment: [UInt8](repeating: 0, count: 8))) == [])
    }

    @Test func `control frames are counted in a bucket of five seconds`() {
        var limits = WireLimits()
        limits.maximumControlFramesPerSecond = 10
        let ping = frame(.ping, attachment: [UInt8](repeating: 0, count: 8))
        let flood = ["send GOAWAY RESOURCE_EXHAUSTED control_flood", "close control_flood"]
        var peer = Peer.server(limits: limits)
        for _ in 0..<50 { #expect(peer.receive(ping) == ["send PONG"]) }
        #expect(peer.receive(ping) == flood)

        var patient = Peer.server(limits: limits)
        for _ in 0..<500 {
            patient.now += 100_000_000
            #expect(patient.receive(ping) == ["send PONG"])
        }
        let cancel = frame(.cancel, stream: 1)
        let empty = frame(.message, stream: 1)
        for free in [cancel, empty] {
            var peer = Peer.server(limits: limits)
            _ = peer.receive(request(1))
            _ = peer.state.finish(stream: 1)
            for _ in 0..<50 { #expect(peer.receive(free) == []) }
            #expect(peer.receive(free) == flood)
        }
    }

    @Test func `a REQUEST over the limit is refused, one far over it ends the connection`() {
        var limits = WireLimits()
        limits.maximumFrameBytes = 65_536
        let large = frame(.request, flags: .last, method: 1, stream: 1, attachment: [UInt8](repeating: 0, count: 65_537))
        var peer = Peer.server(limits: limits)
        #expect(peer.receive(large + request(3)) == ["send END 1 INVALID_ARGUMENT limits.max_frame_bytes", "call 3 Info"])

        var slow = Peer.server(limits: limits)
        #expect(slow.receive(Array(large[..<40])) == ["send END 1 INVALID_ARGUMENT limits.max_frame_bytes"])
        #expect(slow.state.isInsideFrame && slow.state.bufferedBytes == 0)
        #expect(slow.receive(Array(large[40...])) == [])
        #expect(slow.receive(request(3)) == ["call 3 Info"])

        for length in [262_145, UInt32.max] {
            let announced = frame(.request, flags: .last, method: 1, stream: 1) { bytes in
                withUnsafeBytes(of: length.littleEndian) { bytes.replaceSubrange(12..<16, with: $0) }
            }
            var peer = Peer.server(limits: limits)
            #expect(peer.receive(announced) == ["send GOAWAY INVALID_ARGUMENT frame_too_large", "close frame_too_large"])
        }
    }
}

struct Absent: Error {}

func request(_ stream: UInt32, edit: (inout [UInt8]) -> Void) -> [UInt8] {
    frame(.request, flags: .last, method: 6, stream: stream, edit: edit)
}
