import Daemon
import TestPeers
import TestSupport
import Testing
import Wire

/// Everything that has a time, with short ones.
@Suite(.serialized) struct TimeTests {
    @Test(arguments: [[], Array(helloFrame()[..<20]), Array(helloFrame().dropLast())])
    func `no HELLO in time ends the connection`(_ bytes: [UInt8]) async throws {
        let fixture = try ServiceFixture { $0.handshakeTimeout = .milliseconds(200) }
        try await fixture.beside {
            let peer = try RawPeer(fixture.tcpEndpoint)
            try await peer.send(bytes)
            #expect(try await peer.words(2) == ["GOAWAY DEADLINE_EXCEEDED handshake_timeout", "closed"])
        }
        #expect(fixture.metric("sae_protocol_errors_total{reason=\"handshake_timeout\"}") == 1)
    }

    @Test(arguments: [false, true])
    func `a frame that does not become whole in time ends the connection`(isDropped: Bool) async throws {
        let fixture = try ServiceFixture {
            $0.maximumFrameBytes = 65_536
            $0.frameTimeout = .milliseconds(400)
        }
        try await fixture.beside {
            let peer = try await RawPeer.greeted(fixture.unixEndpoint)
            let whole = embedRequest(1, [[UInt8](repeating: 97, count: isDropped ? 70_000 : 60_000)])
            try await peer.send(Array(whole[..<100]))
            if isDropped { #expect(try await peer.words() == "END 1 INVALID_ARGUMENT limits.max_frame_bytes") }
            // A byte now and then does not help.
            var byte = 100
            while fixture.metric("sae_protocol_errors_total{reason=\"frame_timeout\"}") == 0, byte < 2_000 {
                try await peer.send([whole[byte]])
                byte += 1
                try await Task.sleep(for: .milliseconds(10))
            }
            #expect(try await peer.words() == "GOAWAY DEADLINE_EXCEEDED frame_timeout")
        }
    }

    @Test func `frames that are whole have all the time between them`() async throws {
        let fixture = try ServiceFixture { $0.frameTimeout = .milliseconds(1_500) }
        let peer = try await RawPeer.greeted(fixture.unixEndpoint)
        // Always inside a frame, and never for long: CANCELs of an ended stream bring nothing about.
        try await peer.send(request(1))
        #expect(try await peer.words() == "message")
        let cancel = frame(.cancel, stream: 1)
        try await peer.send(Array(cancel[..<10]))
        for _ in 0..<40 {
            try await Task.sleep(for: .milliseconds(50))
            try await peer.send(Array(cancel[10...] + cancel[..<10]))
        }
        try await peer.send(Array(cancel[10...] + request(3)))
        #expect(try await peer.words() == "message")
    }

    @Test func `a silent client is asked whether it is there, and goes when it does not say so`() async throws {
        let fixture = try ServiceFixture {
            $0.keepAlive = .milliseconds(150)
            $0.keepAliveTimeout = .milliseconds(1_500)
        }
        try await fixture.beside {
            let (alive, dead) = (try await RawPeer.greeted(fixture.tcpEndpoint), try await RawPeer.greeted(fixture.tcpEndpoint))
            var answered = 0
            while fixture.metric("sae_connections_closed_total{reason=\"keep_alive\"}") == 0 {
                let ping = try #require(try await alive.frame())
                #expect(words(ping) == "PING" && ping.attachment.count == 8)
                try await alive.send(frame(.ping, flags: .acknowledgement, attachment: ping.attachment))
                answered += 1
            }
            #expect(answered > 2)
            #expect(try await dead.words(3) == ["PING", "GOAWAY UNAVAILABLE keep_alive", "closed"])
        }
        #expect(fixture.metric("sae_connections_closed_total{reason=\"keep_alive\"}") == 1)
    }

    @Test func `an idle connection and an old one are told to go`() async throws {
        for reason in ["idle", "max_age"] {
            let fixture = try ServiceFixture {
                if reason == "idle" {
                    $0.idleTimeout = .milliseconds(150)
                } else {
                    $0.maximumConnectionAge = .milliseconds(150)
                }
            }
            let peer = try RawPeer(fixture.tcpEndpoint)
            try await peer.send(helloFrame() + embedRequest(1, ["x"]))
            #expect(try await peer.words(4) == ["hello", "message", "GOAWAY OK \(reason)", "closed"])
        }
    }

    @Test func `an idle connection that has a request under way is not idle`() async throws {
        let fixture = try ServiceFixture {
            $0.idleTimeout = .milliseconds(100)
            $0.workerCount = 1
        }
        let peer = try RawPeer(fixture.unixEndpoint)
        try await peer.send(helloFrame(maximumFrameBytes: 4_194_304) + embedRequest(1, PressureTests.slowTexts(300, bytes: 4_000)))
        #expect(try await peer.words() == "hello")
        #expect(try await peer.words(within: 30) == "message")
    }
}
