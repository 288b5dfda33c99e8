import Bytes
import Daemon
import Glibc
import Messages
import SAEClient
import SAEEngine
import SwiftProtobuf
import Synchronization
import TestPeers
import TestSupport
import Testing
import Transport
import Wire

/// Who is let in, and who may do what.
@Suite(.serialized) struct AccessTests {
    /// A daemon with a tokens file: an embedder, one who reads metrics, and an administrator.
    private struct Guarded {
        let fixture: ServiceFixture
        let folder: TemporaryFolder
        let embed, metrics, admin: String
        var path: String { folder.path("tokens") }

        init(_ configure: (inout Configuration) -> Void = { _ in }) throws {
            folder = try TemporaryFolder()
            let made = try ["embed", "metrics", "admin"].map { try #require(Tokens.make(name: "the-\($0)er", roles: $0)) }
            (embed, metrics, admin) = (made[0].secret, made[1].secret, made[2].secret)
            let path = folder.path("tokens")
            try Self.write("# who may\n\n" + made.map(\.line).joined(separator: " # a comment\n") + "\n", to: path)
            fixture = try ServiceFixture {
                $0.tokensFile = path
                configure(&$0)
            }
        }

        static func write(_ text: String, to path: String, mode: mode_t = 0o600) throws {
            var file = try AtomicFileWriter(path)
            try file.append(Array(text.utf8))
            try file.commit()
            #expect(chmod(path, mode) == 0)
        }

        func client(_ token: String, at endpoint: String? = nil) async throws -> Client {
            var options = ClientOptions()
            options.token = token
            return try await Client(connectingTo: endpoint ?? fixture.tcpEndpoint, options: options)
        }

        func status(_ path: String, _ fields: [String], method: String = "GET", body: String? = nil) async throws -> Int {
            let peer = try HTTPPeer(try #require(fixture.service.operationsEndpoint))
            return try await peer.ask(method, path, body, fields: fields).status
        }
    }

    private func code(_ body: () async throws -> Void) async -> ClientError.Code? {
        do { try await body() } catch { return (error as? ClientError)?.code }
        return nil
    }

    @Test func `a token lets in over TCP, a wrong one and none do not`() async throws {
        let guarded = try Guarded()
        let texts = ["a dog"]
        let vectors = try await guarded.client(guarded.embed).embed(texts)
        #expect(vectors.vectors == guarded.fixture.vectors(texts).vectors)
        for wrong in ["", "sae_wrong", guarded.embed + "x", String(guarded.embed.dropLast()), " "] {
            #expect(await code { _ = try await guarded.client(wrong) } == .unauthenticated)
        }
        #expect(guarded.fixture.metric("sae_auth_failures_total{reason=\"token\"}") == 5)
    }

    @Test func `who is not let in learns it after a tenth of a second, and is heard no more`() async throws {
        let guarded = try Guarded()
        let begun = ContinuousClock.now
        let peer = try RawPeer(guarded.fixture.tcpEndpoint)
        try await peer.send(helloFrame() + request(1))
        #expect(try await peer.words() == "GOAWAY UNAUTHENTICATED unauthenticated")
        #expect(try await peer.frame() == nil)
        #expect(ContinuousClock.now - begun >= .milliseconds(100))
    }

    @Test func `a call needs its role`() async throws {
        let guarded = try Guarded()
        let (embed, metrics) = (try await guarded.client(guarded.embed), try await guarded.client(guarded.metrics))
        #expect(await code { _ = try await metrics.embed(["a"]) } == .permissionDenied)
        #expect(await code { _ = try await metrics.tokenize(["a"]) } == .permissionDenied)
        _ = try await metrics.information()
        #expect(await code { _ = try await embed.embed(["a"]) } == nil)
        await #expect { try await embed.drain() } throws: { ($0 as? ClientError)?.message == "Drain needs the role admin" }
        for (token, reload) in [(guarded.embed, "END 1 PERMISSION_DENIED"), (guarded.admin, "message")] {
            let peer = try RawPeer(guarded.fixture.tcpEndpoint)
            try await peer.send(helloFrame(token: token))
            try await peer.send(request(1, method: 30))
            #expect(try await peer.words() == "hello")
            #expect(try await peer.words() == reload)
        }
        #expect(guarded.fixture.metric("sae_auth_failures_total{reason=\"role\"}") == 4)
    }

    @Test func `a job is its owner's: others do not even learn that it is there`() async throws {
        let guarded = try Guarded()
        let made = try ["one", "other"].map { try #require(Tokens.make(name: $0, roles: "jobs")) } + [#require(Tokens.make(name: "boss", roles: "admin"))]
        try Guarded.write(made.map(\.line).joined(separator: "\n"), to: guarded.path)
        try guarded.fixture.service.reload()
        let owner = try await RawPeer.greeted(guarded.fixture.tcpEndpoint, token: made[0].secret)
        let create = Sae_V1_CreateJobRequest.with { $0.spec.upload = true }
        try await owner.send(frame(.request, flags: .last, method: Method.createJob.rawValue, stream: 1, message: wireBytes(create)))
        let job = try Sae_V1_Job(serializedBytes: try #require(try await owner.frame()).message)
        #expect(job.owner == "one")
        let ask = wireBytes(Sae_V1_JobRequest.with { $0.id = job.id })
        for (index, words) in ["message", "END 1 NOT_FOUND", "message"].enumerated() {
            let peer = try await RawPeer.greeted(guarded.fixture.tcpEndpoint, token: made[index].secret)
            try await peer.send(frame(.request, flags: .last, method: Method.getJob.rawValue, stream: 1, message: ask))
            #expect(try await peer.words() == words)
        }
        let stranger = try await RawPeer.greeted(guarded.fixture.tcpEndpoint, token: made[1].secret)
        let output = Sae_V1_GetJobOutputRequest.with { ($0.id, $0.file) = ("../\(job.id)", "../job.json") }
        try await stranger.send(
            frame(.request, flags: .last, method: Method.getJobOutput.rawValue, stream: 1, message: wireBytes(output)))
        #expect(try await stranger.words() == "END 1 NOT_FOUND")
    }

    @Test func `over a Unix socket the kernel says who it is, and a token replaces that`() async throws {
        let guarded = try Guarded()
        let unix = guarded.fixture.unixEndpoint
        #expect(await code { _ = try await guarded.client("", at: unix).embed(["a"]) } == nil)
        #expect(await code { _ = try await guarded.client(guarded.metrics, at: unix).embed(["a"]) } == .permissionDenied)
        #expect(await code { _ = try await guarded.client("sae_wrong", at: unix) } == .unauthenticated)
    }

    @Test func `on open loopback anybody may embed and nobody may administrate`() async throws {
        let fixture = try ServiceFixture()
        let peer = try RawPeer(fixture.tcpEndpoint)
        try await peer.send(helloFrame(token: "sk-anything"))
        try await peer.send(request(1, method: 31))
        let hello = try #require(try await peer.frame())
        #expect(try Sae_V1_Hello(serializedBytes: hello.message).roles == ["embed", "metrics"])
        #expect(try await peer.words() == "END 1 PERMISSION_DENIED")
    }

    @Test func `HTTP needs a token for all but probes, and its role`() async throws {
        let guarded = try Guarded()
        for probe in ["/livez", "/readyz", "/health"] { #expect(try await guarded.status(probe, []) == 200) }
        let begun = ContinuousClock.now
        for path in ["/metrics", "/info", "/v1/models", "/nothing"] { #expect(try await guarded.status(path, []) == 401) }
        #expect(ContinuousClock.now - begun >= .milliseconds(400), "a wrong token is told after a tenth of a second")
        let bearer = { (token: String) in "authorization: Bearer \(token)" }
        #expect(try await guarded.status("/metrics", [bearer(guarded.metrics)]) == 200)
        #expect(try await guarded.status("/metrics", [bearer(guarded.embed)]) == 403)
        #expect(try await guarded.status("/v1/models", [bearer(guarded.embed)]) == 200)
        #expect(try await guarded.status("/nothing", [bearer(guarded.embed)]) == 404)
        let body = "{\"input\": \"a dog\"}"
        let post = { try await guarded.status("/v1/embeddings", $0, method: "POST", body: body) }
        #expect(try await post([bearer(guarded.embed)]) == 200)
        #expect(try await post([bearer(guarded.metrics)]) == 403)
        for fields in [[], [bearer("sae_wrong")], ["authorization: Basic \(guarded.embed)"], ["authorization: \(guarded.embed)"],
            [bearer(guarded.embed), bearer(guarded.embed)], [bearer(guarded.embed + " x")]]
        {
            #expect(try await post(fields) == 401)
        }
    }

    @Test(arguments: [
        "/../etc/passwd", "/%2e%2e/etc/passwd", "//metrics", "/metrics/", "/./metrics", "/metrics%00", "/livez/../metrics",
        "/%6d%65trics", "/metrics;x", "http://localhost//metrics", "/\\metrics", "/METRICS",
    ])
    func `a path is a route letter by letter, or none`(path: String) async throws {
        let fixture = try ServiceFixture()
        let peer = try HTTPPeer(try #require(fixture.service.operationsEndpoint))
        #expect(try await peer.ask("GET", path).status == 404)
        let guarded = try Guarded()
        #expect(try await guarded.status(path, []) == 401)
    }

    @Test func `a reload takes tokens away from those who are here, and a broken file changes nothing`() async throws {
        let guarded = try Guarded()
        let client = try await guarded.client(guarded.embed)
        _ = try await client.embed(["a"])
        try Guarded.write("nonsense\n", to: guarded.path)
        #expect(throws: (any Error).self) { try guarded.fixture.service.reload() }
        _ = try await client.embed(["a"])
        let other = try #require(Tokens.make(name: "other", roles: "embed"))
        try Guarded.write(other.line, to: guarded.path)
        try guarded.fixture.service.reload()
        #expect(await eventually { await code { _ = try await client.embed(["a"]) } == .unauthenticated })
        _ = try await guarded.client(other.secret).embed(["a"])
        guarded.fixture.readings.mutex.withLock { read in
            let before = read
            read = {
                var configuration = try before()
                configuration.tokensFile = ""
                return configuration
            }
        }
        #expect(throws: (any Error).self, "open to all is for a restart") { try guarded.fixture.service.reload() }
    }

    private static let zeros = "sha256:" + String(repeating: "0", count: 64)
    private static let spoilt: [(String, Int)] = [
        ("a embed sha256:00", 0o600), ("a embed", 0o600), ("a fly \(zeros)", 0o600), ("# nobody", 0o600),
        ("a embed \(zeros)", 0o644), ("a/b embed \(zeros)", 0o600), ("a embed \(zeros)\nb embed \(zeros)", 0o600),
    ]

    @Test(arguments: spoilt)
    func `a tokens file that is wrong, empty or open to others is not taken`(text: String, mode: Int) throws {
        let folder = try TemporaryFolder()
        try Guarded.write(text, to: folder.path("tokens"), mode: mode_t(mode))
        #expect(throws: ConfigurationError.self) { _ = try Tokens(readingFile: folder.path("tokens")) }
    }

    @Test func `secrets stand in no log, metric or answer`() async throws {
        let guarded = try Guarded()
        _ = try await guarded.client(guarded.embed).embed(["a"])
        _ = await code { _ = try await guarded.client("sae_wrong-secret") }
        _ = try await guarded.status("/metrics", ["authorization: Bearer sae_wrong-secret"])
        _ = try await guarded.status("/metrics", ["authorization: Bearer \(guarded.metrics)"])
        let written = { guarded.fixture.log.joined() }
        #expect(await eventually { written().contains("auth_failed") })
        for secret in [guarded.embed, guarded.metrics, guarded.admin, "sae_wrong-secret"] {
            #expect(!written().contains(secret) && !guarded.fixture.service.metricsPage().contains(secret))
        }
    }

    @Test func `an address that others reach needs tokens and encryption`() throws {
        for key in [\Configuration.listenTCP, \Configuration.httpListen] {
            var configuration = Configuration()
            for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "example.org:1"] {
                configuration[keyPath: key] = address
                configuration.tokensFile = ""
                #expect("\(error(configuration))".contains("auth.tokens_file"))
                configuration.tokensFile = "/tokens"
                #expect("\(error(configuration))".contains("TLS"))
                var trusting = configuration
                trusting.allowsPlaintext = true
                #expect(throws: Never.self) { try trusting.validate() }
                configuration.tlsCertificate = "/certificate"
                configuration.tlsKey = "/key"
                #expect(throws: Never.self) { try configuration.validate() }
                configuration.tokensFile = ""
                #expect("\(error(configuration))".contains("auth.tokens_file"))
                (configuration.tlsCertificate, configuration.tlsKey) = ("", "")
            }
        }
    }

    private func error(_ configuration: Configuration) -> String {
        do { try configuration.validate() } catch { return error.summary }
        return "nothing"
    }
}
