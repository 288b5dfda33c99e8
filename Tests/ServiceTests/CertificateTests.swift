import Daemon
import Foundation
import SAEClient
import SAEEngine
import Synchronization
import TestPeers
import TestSupport
import Testing
import Transport

/// Certificates of clients, what a reload does with files of TLS, and files that cannot be used.
@Suite(.serialized) struct CertificateTests {
    private func start(_ certificates: Certificates, _ configure: (inout Configuration) -> Void = { _ in }) throws -> ServiceFixture {
        try ServiceFixture {
            $0.tlsCertificate = certificates.path("server.pem")
            $0.tlsKey = certificates.path("server.key")
            configure(&$0)
        }
    }

    private func client(
        of fixture: ServiceFixture, _ certificates: Certificates, authorities: String = "ca", certificate: String = "",
        token: String = ""
    ) async throws -> Client {
        var options = ClientOptions()
        options.token = token
        options.tlsAuthorities = certificates.path("\(authorities).pem")
        if !certificate.isEmpty {
            options.tlsCertificate = certificates.path("\(certificate).pem")
            options.tlsKey = certificates.path("\(certificate).key")
        }
        let endpoint = fixture.tcpEndpoint.replacingOccurrences(of: "tcp:", with: "tls:")
        return try await Client(connectingTo: endpoint, options: options)
    }

    private func code(_ body: () async throws -> Void) async -> ClientError.Code? {
        do { try await body() } catch { return (error as? ClientError)?.code }
        return nil
    }

    @Test func `where certificates of clients are wanted, none, a stranger's and an expired one do not let in`() async throws {
        let certificates = try Certificates()
        try certificates.add("server")
        try certificates.addAuthority("clients")
        try certificates.addAuthority("strangers")
        for (name, authority, days) in [("good", "clients", 2), ("stranger", "strangers", 2), ("old", "clients", -1)] {
            try certificates.add(name, by: authority, for: "email:a@example.org", days: days)
        }
        let folder = try TemporaryFolder()
        let token = try #require(Tokens.make(name: "the-reader", roles: "metrics"))
        try Data(token.line.utf8).write(to: URL(fileURLWithPath: folder.path("tokens")))
        #expect(chmod(folder.path("tokens"), 0o600) == 0)
        let fixture = try start(certificates) {
            $0.tlsClientAuthorities = certificates.path("clients.pem")
            $0.tokensFile = folder.path("tokens")
        }
        try await fixture.beside {
            for name in ["", "stranger", "old"] {
                let made = await code { _ = try await client(of: fixture, certificates, certificate: name, token: token.secret) }
                #expect(made == .unauthenticated, "\(name)")
            }
            // The certificate opens the door; what one may do, the token says.
            #expect(await code { _ = try await client(of: fixture, certificates, certificate: "good") } == .unauthenticated)
            let reader = try await client(of: fixture, certificates, certificate: "good", token: token.secret)
            _ = try await reader.information()
            #expect(await code { _ = try await reader.embed(["a dog"]) } == .permissionDenied)
        }
        #expect(fixture.metric("sae_auth_failures_total{reason=\"certificate\"}") == 3)
        #expect(fixture.metric("sae_auth_failures_total{reason=\"token\"}") == 1)
    }

    @Test func `a reload brings other certificates, and one that fails keeps those in force`() async throws {
        let certificates = try Certificates()
        try certificates.add("server")
        try certificates.addAuthority("next")
        try certificates.add("other", by: "next", days: 20)
        let fixture = try start(certificates)
        let expiry = fixture.metric("sae_tls_certificate_expiry_timestamp_seconds")
        #expect(abs(expiry - Date.now.timeIntervalSince1970 - 2 * 86_400) < 3_600)
        let first = try await client(of: fixture, certificates)
        _ = try await first.embed(["a"])
        let change = { (change: @escaping @Sendable (inout Configuration) -> Void) in
            fixture.readings.mutex.withLock { read in
                let before = read
                read = {
                    var configuration = try before()
                    change(&configuration)
                    return configuration
                }
            }
        }
        // The key of another certificate; then no TLS at all, which is for a restart.
        let (pem, key) = (certificates.path("other.pem"), certificates.path("other.key"))
        change { $0.tlsCertificate = pem }
        #expect(throws: (any Error).self) { try fixture.service.reload() }
        change { ($0.tlsCertificate, $0.tlsKey) = ("", "") }
        #expect(throws: (any Error).self) { try fixture.service.reload() }
        _ = try await client(of: fixture, certificates).embed(["a"])
        #expect(fixture.metric("sae_tls_certificate_expiry_timestamp_seconds") == expiry)

        change { ($0.tlsCertificate, $0.tlsKey) = (pem, key) }
        let outcome = try fixture.service.reload()
        #expect(outcome.changed == ["tls.certificate", "tls.key"])
        #expect(await code { _ = try await client(of: fixture, certificates) } == .unauthenticated)
        _ = try await client(of: fixture, certificates, authorities: "next").embed(["a"])
        _ = try await first.embed(["a"])
        #expect(fixture.metric("sae_tls_certificate_expiry_timestamp_seconds") - expiry > 17 * 86_400)
    }

    @Test func `a reload that replaces the authorities of clients sends away those of the old ones`() async throws {
        let certificates = try Certificates()
        try certificates.add("server")
        for name in ["old", "new"] {
            try certificates.addAuthority("\(name)-ca")
            try certificates.add(name, by: "\(name)-ca", for: "email:a@example.org")
        }
        let (both, new) = (certificates.path("both.pem"), certificates.path("new-ca.pem"))
        let texts = try ["old-ca", "new-ca"].map { try String(contentsOfFile: certificates.path("\($0).pem"), encoding: .utf8) }
        try texts.joined().write(toFile: both, atomically: true, encoding: .utf8)
        let fixture = try start(certificates) { $0.tlsClientAuthorities = both }
        let clients = [
            try await client(of: fixture, certificates, certificate: "old"),
            try await client(of: fixture, certificates, certificate: "new"),
        ]
        for client in clients { _ = try await client.embed(["a"]) }
        try fixture.service.reload()
        for client in clients { _ = try await client.embed(["a"]) }
        #expect(fixture.metric("sae_connections_total{transport=\"tcp\"}") == 2)
        fixture.readings.mutex.withLock { read in
            let before = read
            read = {
                var configuration = try before()
                configuration.tlsClientAuthorities = new
                return configuration
            }
        }
        try fixture.service.reload()
        #expect(await eventually { await code { _ = try await clients[0].embed(["a"]) } == .unauthenticated })
        #expect(await eventually { fixture.metric("sae_connections{transport=\"tcp\"}") == 1 })
        let opened = fixture.metric("sae_connections_total{transport=\"tcp\"}")
        _ = try await clients[1].embed(["a"])
        #expect(fixture.metric("sae_connections_total{transport=\"tcp\"}") == opened)
    }

    @Test func `files of TLS that cannot be used are named, and nothing starts`() throws {
        let certificates = try Certificates()
        try certificates.add("server")
        try certificates.add("other")
        try "no certificate".write(toFile: certificates.path("text.pem"), atomically: true, encoding: .utf8)
        let (status, output) = try run(
            "openssl",
            ["ec", "-in", certificates.path("server.key"), "-aes128", "-passout", "pass:secret", "-out", certificates.path("locked.key")])
        #expect(status == 0, "\(output)")
        #expect(chmod(certificates.path("locked.key"), 0o600) == 0)
        let cases: [(certificate: String, key: String, authorities: String, mode: mode_t, said: String)] = [
            ("none.pem", "server.key", "", 0o600, "none.pem"), ("text.pem", "server.key", "", 0o600, "text.pem"),
            ("server.pem", "none.key", "", 0o600, "none.key"), ("server.pem", "text.pem", "", 0o600, "text.pem"),
            ("server.pem", "other.key", "", 0o600, "does not belong"), ("server.pem", "locked.key", "", 0o600, "locked.key"),
            ("server.pem", "server.key", "", 0o644, "any user may read it"), ("server.pem", "", "", 0o600, "tls.key"),
            ("", "server.key", "", 0o600, "tls.certificate"), ("", "", "ca.pem", 0o600, "tls.certificate"),
            ("server.pem", "server.key", "none.pem", 0o600, "none.pem"), ("server.pem", "server.key", "text.pem", 0o600, "text.pem"),
        ]
        for each in cases {
            #expect(chmod(certificates.path("server.key"), each.mode) == 0)
            chmod(certificates.path("text.pem"), 0o600)
            do {
                _ = try start(certificates) {
                    $0.tlsCertificate = each.certificate.isEmpty ? "" : certificates.path(each.certificate)
                    $0.tlsKey = each.key.isEmpty ? "" : certificates.path(each.key)
                    $0.tlsClientAuthorities = each.authorities.isEmpty ? "" : certificates.path(each.authorities)
                }
                Issue.record("started with \(each)")
            } catch let error as ConfigurationError {
                #expect("\(error)".contains(each.said), "\(each): \(error)")
            }
        }
    }
}
