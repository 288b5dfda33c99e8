import Daemon
import Encryption
import Foundation
import SAEClient
import SAEEngine
import Synchronization
import TestPeers
import TestSupport
import Testing
import Transport
import Wire

/// TLS on the port for frames, with certificates that the `openssl` program makes.
@Suite(.serialized) struct EncryptionTests {
    /// A daemon with a certificate, and who may vouch for it.
    private struct Encrypted {
        let certificates: Certificates
        let fixture: ServiceFixture
        var port: String { String(fixture.tcpEndpoint.split(separator: ":").last ?? "") }

        init(
            days: Int = 2, names: String = "DNS:localhost,IP:127.0.0.1", _ configure: (inout Configuration) -> Void = { _ in }
        ) throws {
            let certificates = try Certificates()
            try certificates.add("server", for: names, days: days)
            self.certificates = certificates
            fixture = try ServiceFixture {
                $0.tlsCertificate = certificates.path("server.pem")
                $0.tlsKey = certificates.path("server.key")
                configure(&$0)
            }
        }

        func client(
            _ host: String = "localhost", authorities: String = "ca", certificate: String = ""
        ) async throws -> Client {
            var options = ClientOptions()
            options.tlsAuthorities = certificates.path("\(authorities).pem")
            if !certificate.isEmpty {
                options.tlsCertificate = certificates.path("\(certificate).pem")
                options.tlsKey = certificates.path("\(certificate).key")
            }
            return try await Client(connectingTo: "tls://\(host):\(port)", options: options)
        }

        /// The client's side, for peers that need not keep the rules.
        func session() throws -> EncryptedSession {
            let context = try EncryptionContext(
                clientAuthorities: certificates.path("ca.pem"), certificate: "", key: "")
            return try EncryptedSession(context, speaking: "sae/1", with: "localhost")
        }
    }

    private func failure(_ body: () async throws -> Void) async -> ClientError? {
        do { try await body() } catch { return error as? ClientError }
        return nil
    }

    @Test(arguments: ["localhost", "127.0.0.1"])
    func `vectors that came through TLS have the same bits`(host: String) async throws {
        let encrypted = try Encrypted()
        let client = try await encrypted.client(host)
        // Requests and answers of many records each.
        let texts = (0..<3_000).map { "the dog number \($0) watches the river " + String(repeating: "x", count: $0 % 100) }
        let answer = try await client.embed(texts)
        #expect(answer.vectors.map(\.bitPattern) == encrypted.fixture.vectors(texts).vectors.map(\.bitPattern))
        let plain = try await Client(connectingTo: encrypted.fixture.unixEndpoint)
        #expect(try await plain.embed(texts).vectors.map(\.bitPattern) == answer.vectors.map(\.bitPattern))
        client.close()
        #expect(await eventually { encrypted.fixture.metric("sae_connections_closed_total{reason=\"eof\"}") == 1 })
    }

    @Test func `many calls at once through TLS each get their own answer`() async throws {
        let encrypted = try Encrypted()
        let client = try await encrypted.client()
        let expected = encrypted.fixture.vectors((0..<200).map { "text \($0)" }).vectors
        let dimensions = encrypted.fixture.engine.dimensions
        try await withThrowingTaskGroup(of: (Int, [Float]).self) { group in
            for index in 0..<200 { group.addTask { (index, try await client.embed(["text \(index)"]).vectors) } }
            for try await (index, vector) in group {
                #expect(vector == Array(expected[(index * dimensions)..<((index + 1) * dimensions)]))
            }
        }
    }

    @Test func `a client connects to nobody whose certificate does not prove the name`() async throws {
        let good = try Encrypted()
        try good.certificates.addAuthority("other")
        let stranger = await failure { _ = try await good.client(authorities: "other") }
        #expect(stranger?.code == .unauthenticated)
        let expired = await failure { _ = try await Encrypted(days: -1).client() }
        #expect(expired?.code == .unauthenticated)
        #expect(expired?.message.contains("expired") == true)
        let elsewhere = try Encrypted(names: "DNS:example.org,IP:127.0.0.2")
        for host in ["localhost", "127.0.0.1"] {
            let failure = await failure { _ = try await elsewhere.client(host) }
            #expect(failure?.code == .unauthenticated)
            #expect(failure?.message.contains("mismatch") == true)
        }
        #expect(await eventually { good.fixture.metric("sae_protocol_errors_total{reason=\"tls\"}") == 1 })
    }

    @Test func `who does not speak TLS 1_3 is not heard, and disturbs nobody`() async throws {
        let encrypted = try Encrypted()
        try await encrypted.fixture.beside {
            for bytes in [helloFrame(), Array("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n".utf8), [UInt8](repeating: 22, count: 40_000)] {
                let peer = try BytePeer(encrypted.fixture.tcpEndpoint)
                try await peer.send(bytes)
                // At most an alert comes back.
                #expect(try await peer.remainder().count <= 7)
            }
        }
        #expect(encrypted.fixture.metric("sae_protocol_errors_total{reason=\"tls\"}") == 3)
        let old = try run("openssl", ["s_client", "-connect", "127.0.0.1:\(encrypted.port)", "-tls1_2"])
        #expect(old.status == 1 && old.output.contains("alert protocol version"), "\(old.output)")
        let wrong = try run("openssl", ["s_client", "-connect", "127.0.0.1:\(encrypted.port)", "-alpn", "http/1.1"])
        #expect(wrong.output.contains("alert no application protocol"), "\(wrong.output)")
        let new = try run("openssl", ["s_client", "-connect", "127.0.0.1:\(encrypted.port)", "-alpn", "h2,sae/1"])
        #expect(new.output.contains("TLSv1.3") && new.output.contains("ALPN protocol: sae/1"), "\(new.output)")
    }

    @Test func `a client that speaks in the clear is told of TLS, and one of TLS of the clear`() async throws {
        let encrypted = try Encrypted()
        var options = ClientOptions()
        options.connectTimeout = .milliseconds(500)
        let clear = await failure {
            _ = try await Client(connectingTo: encrypted.fixture.tcpEndpoint, options: options, timeout: .milliseconds(500))
        }
        #expect(clear?.message.contains("tls://") == true, "\(clear?.message ?? "")")
        let plain = try ServiceFixture()
        options.tlsAuthorities = encrypted.certificates.path("ca.pem")
        let endpoint = plain.tcpEndpoint.replacingOccurrences(of: "tcp:", with: "tls:")
        let sealed = await failure {
            _ = try await Client(connectingTo: endpoint, options: options, timeout: .milliseconds(500))
        }
        #expect(sealed?.message.contains("TLS 1.3") == true, "\(sealed?.message ?? "")")
    }

    @Test func `handshakes that do not go on are ended by time and by number`() async throws {
        let timed = try Encrypted { $0.handshakeTimeout = .milliseconds(300) }
        try await timed.fixture.beside {
            let session = try timed.session()
            try session.begin()
            let hello = session.takeOutput()
            for count in [0, 1, hello.count / 2, hello.count - 1, hello.count] {
                let peer = try BytePeer(timed.fixture.tcpEndpoint)
                try await peer.send(Array(hello[..<count]))
                _ = try await peer.remainder()
            }
        }
        #expect(timed.fixture.metric("sae_connections_closed_total{reason=\"handshake_timeout\"}") == 5)

        let counted = try Encrypted { $0.maximumUnauthenticated = 8 }
        let peers = try (0..<40).map { _ in try BytePeer(counted.fixture.tcpEndpoint) }
        let lanes = Double(counted.fixture.service.ioQueueCount)
        #expect(await eventually { counted.fixture.metric("sae_connections{transport=\"tcp\"}") <= 8 + lanes })
        _ = try await counted.client().embed(["a dog"])
        withExtendedLifetime(peers) {}
    }

    @Test func `a handshake and frames may come byte by byte`() async throws {
        let encrypted = try Encrypted()
        let session = try encrypted.session()
        let peer = try BytePeer(encrypted.fixture.tcpEndpoint)
        try session.begin()
        try await peer.trickle(session.takeOutput())
        while !session.isEstablished {
            try await peer.receive().withUnsafeBytes { bytes in try session.receive(bytes) { _ in true } }
        }
        try helloFrame().withUnsafeBytes { try session.send($0) }
        try await peer.trickle(session.takeOutput())
        var decoder = FrameDecoder(maximumFrameBytes: 65_536)
        var frames: [Frame] = []
        while frames.isEmpty {
            let received = try await peer.receive()
            var plain: [UInt8] = []
            try received.withUnsafeBytes { bytes in
                try session.receive(bytes) {
                    plain += $0
                    return true
                }
            }
            frames += try decoder.frames(in: plain[...])
        }
        #expect(words(frames[0]) == "hello")
        // A record that was tampered with ends the connection.
        try request(1).withUnsafeBytes { try session.send($0) }
        var spoilt = session.takeOutput()
        spoilt[spoilt.count - 1] ^= 1
        try await peer.send(spoilt)
        _ = try await peer.remainder()
        #expect(encrypted.fixture.metric("sae_protocol_errors_total{reason=\"tls\"}") == 1)
    }

    @Test func `an end that nobody vouched for is a reset`() async throws {
        let encrypted = try Encrypted()
        for (says, reason) in [(false, "reset"), (true, "eof")] {
            let session = try encrypted.session()
            let peer = try BytePeer(encrypted.fixture.tcpEndpoint)
            try session.begin()
            try await peer.send(session.takeOutput())
            while !session.isEstablished {
                try await peer.receive().withUnsafeBytes { bytes in try session.receive(bytes) { _ in true } }
            }
            if says { session.finish() }
            try await peer.send(session.takeOutput())
            peer.finishSending()
            #expect(await eventually { encrypted.fixture.metric("sae_connections_closed_total{reason=\"\(reason)\"}") == 1 })
        }
    }
}
