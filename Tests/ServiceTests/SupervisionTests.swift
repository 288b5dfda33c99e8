import Foundation
import Glibc
import KeyValueStore
import Messages
import Models
import Programs
import RuleLibrary
import Rules
import SAEClient
import SAEEngine
import TestPeers
import TestSupport
import Testing
import Wire

/// The real binary under a service manager played by the test.
@Suite(.serialized) struct SupervisionTests {
    /// `sae serve` on sockets in a folder of its own, with the tiny model.
    final class Daemon {
        let folder: TemporaryFolder
        let process = Process()
        let notifications: Int32

        var socket: String { "unix:\(folder.path("s"))" }
        /// By a handle: Foundation's reading of whole files leaks a page for each that is empty.
        var errors: String {
            let bytes = try? FileHandle(forReadingAtPath: folder.path("err"))?.readToEnd()
            return String(decoding: bytes ?? Data(), as: UTF8.self)
        }

        static let binary =
            Bundle.main.executableURL?.resolvingSymlinksInPath().deletingLastPathComponent()
            .appendingPathComponent("sae").path ?? "sae"

        /// `launcher` is a command line that `sae serve …` is appended to.
        init(
            launcher: [String] = [], _ arguments: [String] = [], environment: [String: String] = [:],
            modelFile: String? = nil
        ) throws {
            folder = try TemporaryFolder()
            notifications = try Self.datagramSocket(at: folder.path("notify"))
            let model = try modelFile ?? TinyModel.write(in: folder)
            let command = launcher + [Self.binary, "serve", "--model", model] + arguments.map {
                $0.replacingOccurrences(of: "FOLDER", with: folder.root)
            }
            process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
            process.arguments = command.map { $0.replacingOccurrences(of: "FOLDER", with: folder.root) }
            // What a sanitizer was told holds for the daemon as well.
            let told = ProcessInfo.processInfo.environment.filter { ["LD_PRELOAD", "TSAN_OPTIONS", "LSAN_OPTIONS"].contains($0.key) }
            process.environment = ["PATH": "/usr/bin:/bin", "NOTIFY_SOCKET": folder.path("notify")].merging(told) { $1 }
                .merging(environment) { $1 }
            try Data().write(to: URL(fileURLWithPath: folder.path("err")))
            process.standardError = FileHandle(forWritingAtPath: folder.path("err"))
            process.standardInput = FileHandle.nullDevice
            try process.run()
        }

        deinit {
            if process.isRunning { kill(process.processIdentifier, SIGKILL) }
            close(notifications)
        }

        private static func datagramSocket(at path: String) throws -> Int32 {
            let number = Glibc.socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8).prefix(107)) }
            let bound = withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(number, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
            try #require(number >= 0 && bound == 0)
            return number
        }

        /// The lines of the next notification; nil when none comes within `seconds`.
        func notification(within seconds: Double = 20) async -> [String]? {
            var buffer = [UInt8](repeating: 0, count: 4_096)
            var count = -1
            _ = await eventually(seconds) {
                count = recv(notifications, &buffer, buffer.count, 0)
                return count >= 0
            }
            guard count >= 0 else { return nil }
            return String(decoding: buffer[..<count], as: UTF8.self).split(separator: "\n").map(String.init)
        }

        /// Notifications up to the first with `line`, that one included; the test fails without it.
        func notifications(upTo line: String) async throws -> [String] {
            var all: [String] = []
            while !all.contains(line) {
                let next = await notification()
                all += try #require(next, "no \(line) after \(all); \(errors)")
            }
            return all
        }

        func exitStatus(within seconds: Double = 20) async throws -> Int32 {
            try #require(await eventually(seconds) { !process.isRunning }, "it still runs; \(errors)")
            return process.terminationStatus
        }
    }

    private static let quiet = ["--listen", "", "--http", "", "--unix", "FOLDER/s", "--drain-lame-duck-ms", "0"]

    @Test func `the manager is told of the start, of readiness, of life and of the end`() async throws {
        let daemon = try Daemon(Self.quiet, environment: ["WATCHDOG_USEC": "300000"])
        let start = try await daemon.notifications(upTo: "READY=1")
        #expect(start.first == "STATUS=testing the model")
        let ready = try #require(start.firstIndex(of: "READY=1"))
        #expect(!start[..<ready].contains { $0.hasPrefix("WATCHDOG") })
        let client = try await Client(connectingTo: daemon.socket)
        _ = try await client.embed(["a dog"])
        let rest = try await daemon.notifications(upTo: "WATCHDOG=1")
        let status = (start[ready...] + rest).first { $0.hasPrefix("STATUS=serving generation ") }
        #expect(status?.contains(String(client.generation, radix: 16)) == true, "\(start) \(rest)")
        _ = try await daemon.notifications(upTo: "WATCHDOG=1")
        kill(daemon.process.processIdentifier, SIGTERM)
        _ = try await daemon.notifications(upTo: "STOPPING=1")
        client.close()
        #expect(try await daemon.exitStatus() == 0)
        #expect(!FileManager.default.fileExists(atPath: daemon.folder.path("s")), "the socket file is removed")
    }

    @Test func `SIGHUP brings another model, and a connection goes on`() async throws {
        let daemon = try Daemon(Self.quiet)
        _ = try await daemon.notifications(upTo: "READY=1")
        let client = try await Client(connectingTo: daemon.socket)
        let before = try await client.embed(["a dog"])
        try TinyModel.contents(named: "second").write(to: daemon.folder.path("tiny.sae"))
        kill(daemon.process.processIdentifier, SIGHUP)
        let told = try await daemon.notifications(upTo: "READY=1")
        #expect(told.contains("RELOADING=1") && told.contains { $0.hasPrefix("MONOTONIC_USEC=") }, "\(told)")
        let after = try await client.embed(["a dog"])
        #expect(after.generation != before.generation && after.vectors != before.vectors)
        try Data("broken".utf8).write(to: URL(fileURLWithPath: daemon.folder.path("new")))
        try #require(rename(daemon.folder.path("new"), daemon.folder.path("tiny.sae")) == 0)
        kill(daemon.process.processIdentifier, SIGHUP)
        _ = try await daemon.notifications(upTo: "READY=1")
        #expect(try await client.embed(["a dog"]).generation == after.generation)
        #expect(daemon.errors.contains("reload_failed"))
    }

    @Test func `a model that gives a wrong vector is not ready`() async throws {
        let folder = try TemporaryFolder()
        var contents = TinyModel.contents
        contents.selfTest.vector = contents.selfTest.vector.map { -$0 }
        try contents.write(to: folder.path("wrong.sae"))
        let daemon = try Daemon(Self.quiet, modelFile: folder.path("wrong.sae"))
        #expect(try await daemon.exitStatus() != 0)
        var told: [String] = []
        while let next = await daemon.notification(within: 0.1) { told += next }
        #expect(!told.contains("READY=1"), "\(told)")
        #expect(daemon.errors.contains("cosine"))
    }

    @Test(arguments: ["frames-unix", "unknown"])
    func `a socket from outside carries the connection that waited in it`(name: String) async throws {
        // It passes on nothing else of the environment.
        let environment = ProcessInfo.processInfo.environment
        let passed = ["NOTIFY_SOCKET"] + ["LD_PRELOAD", "TSAN_OPTIONS", "LSAN_OPTIONS"].filter { environment[$0] != nil }
        let launcher: [String] = ["systemd-socket-activate", "--listen=FOLDER/activated", "--fdname=\(name)"] + passed.flatMap { ["-E", $0] }
        let daemon = try Daemon(launcher: launcher, ["--listen", "", "--http", "", "--unix", "FOLDER/s", "--drain-lame-duck-ms", "0"])
        let path = daemon.folder.path("activated")
        #expect(await eventually(20) { daemon.errors.contains("Listening on") }, "\(daemon.errors)")
        // This connection starts the daemon, and is the first that it serves.
        let client = try await Client(connectingTo: "unix:\(path)", timeout: .seconds(20) * patience)
        let answer = try await client.embed(["a dog"])
        #expect(answer.dimensions == TinyModel.dimensions)
        #expect(!FileManager.default.fileExists(atPath: daemon.folder.path("s")), "it replaces the setting of its name")
        client.close()
        kill(daemon.process.processIdentifier, SIGTERM)
        #expect(try await daemon.exitStatus() == 0)
        #expect(FileManager.default.fileExists(atPath: path), "the socket belongs to the manager")
    }

    @Test func `the promoted generation of a library serves, and Info names it`() async throws {
        let folder = try TemporaryFolder()
        let base = try Model(TinyModel.write(in: folder))
        let without = Generation(
            model: Digest(base.digest), origin: Origin(),
            rules: try RuleSet(vocabularyCount: base.tables.vocabularyCount, phraseCount: 0), records: [])
        let worth = Worth(madeMilliseconds: 1, testVector: base.selfTest.vector)
        let expected = Engine(model: try without.model(on: base, worth: worth, basePath: "tiny"))
        do {
            var library = try Library(folder.path("library"), access: .writing)
            try library.add(without, worth: Worth(
                madeMilliseconds: 1,
                testVector: Array(expected.embed(TextBatch([base.selfTest.text]), threads: 1).vector(0))))
            try library.promote(without.digest, milliseconds: 2)
        }
        let daemon = try Daemon(Self.quiet + ["--library", folder.path("library")], modelFile: folder.path("tiny.sae"))
        _ = try await daemon.notifications(upTo: "READY=1")
        let client = try await Client(connectingTo: daemon.socket)
        let texts = GeneratedText.sentences(50, seed: 8)
        let answer = try await client.embed(texts)
        #expect(answer.vectors == expected.embed(TextBatch(texts), threads: 1).vectors)
        #expect(answer.vectors != Engine(model: base).embed(TextBatch(texts), threads: 1).vectors)
        #expect(try await client.information().generationDigest == without.digest.bytes)
        client.close()
        kill(daemon.process.processIdentifier, SIGTERM)
        #expect(try await daemon.exitStatus() == 0)
    }

    @Test func `a library without a promoted generation stops the start`() async throws {
        let folder = try TemporaryFolder()
        do { _ = try Library(folder.path("library"), access: .writing) }
        let daemon = try Daemon(Self.quiet + ["--library", folder.path("library")])
        #expect(try await daemon.exitStatus() == 66)
        #expect(daemon.errors.contains("has no promoted generation; promote one with sae rules promote"))
    }

    @Test func `a signal in the midst of the start is obeyed`() async throws {
        for _ in 0..<10 {
            let daemon = try Daemon(Self.quiet)
            let status = "/proc/\(daemon.process.processIdentifier)/status"
            // From the moment at which SIGTERM no longer ends the process by itself.
            var isHeard = false
            while !isHeard, daemon.process.isRunning {
                let lines = try String(contentsOfFile: status, encoding: .utf8).split(separator: "\n")
                let caught = lines.first { $0.hasPrefix("SigCgt:") }.flatMap { UInt64($0.dropFirst(7).trimmingCharacters(in: .whitespaces), radix: 16) }
                isHeard = (caught ?? 0) & 1 << UInt64(SIGTERM - 1) != 0
            }
            kill(daemon.process.processIdentifier, SIGTERM)
            #expect(try await daemon.exitStatus() == 0, "\(daemon.errors)")
            #expect(daemon.errors.contains("drain_begin"), "\(daemon.errors)")
        }
    }

    @Test func `a second signal does not wait for the grace`() async throws {
        let daemon = try Daemon(["--listen", "", "--http", "", "--unix", "FOLDER/s", "--drain-lame-duck-ms", "60000"])
        _ = try await daemon.notifications(upTo: "READY=1")
        let peer = try await RawPeer.greeted(daemon.socket)
        kill(daemon.process.processIdentifier, SIGTERM)
        #expect(try await peer.words() == "GOAWAY OK draining")
        #expect(daemon.process.isRunning)
        // Requests are still served in the lame-duck time.
        try await peer.send(embedRequest(1, ["a dog"]))
        #expect(try await peer.words() == "message")
        kill(daemon.process.processIdentifier, SIGINT)
        #expect(try await peer.words(2) == ["GOAWAY OK draining", "closed"])
        #expect(try await daemon.exitStatus() == 0)
    }

    @Test func `after the end was told, a reload says nothing more to the manager`() async throws {
        let daemon = try Daemon(
            ["--listen", "", "--http", "", "--unix", "FOLDER/s", "--drain-lame-duck-ms", "60000", "--log-format", "json"])
        _ = try await daemon.notifications(upTo: "READY=1")
        kill(daemon.process.processIdentifier, SIGTERM)
        _ = try await daemon.notifications(upTo: "STOPPING=1")
        kill(daemon.process.processIdentifier, SIGHUP)
        #expect(await eventually(20) { daemon.errors.contains("\"event\":\"reload\"") })
        kill(daemon.process.processIdentifier, SIGTERM)
        #expect(try await daemon.exitStatus() == 0)
        var told: [String] = []
        while let next = await daemon.notification(within: 0.1) { told += next }
        #expect(!told.contains("RELOADING=1") && !told.contains("READY=1"), "\(told)")
    }

    @Test func `a reload that does not come to its end holds up no stop`() async throws {
        let folder = try TemporaryFolder()
        try Data("".utf8).write(to: URL(fileURLWithPath: folder.path("sae.toml")))
        let daemon = try Daemon(Self.quiet + ["--config", folder.path("sae.toml")])
        _ = try await daemon.notifications(upTo: "READY=1")
        // Who reads it waits for a writer, who does not come.
        try #require(unlink(folder.path("sae.toml")) == 0 && mkfifo(folder.path("sae.toml"), 0o600) == 0)
        for _ in 0..<20 { kill(daemon.process.processIdentifier, SIGHUP) }
        _ = try await daemon.notifications(upTo: "RELOADING=1")
        kill(daemon.process.processIdentifier, SIGTERM)
        _ = try await daemon.notifications(upTo: "STOPPING=1")
        #expect(try await daemon.exitStatus() == 0)
    }

    @Test(arguments: [
        (["--listen", "0.0.0.0:0"], [:], "listen.tcp"), ([], ["SAE_WORKERS_COUNT": "x"], "workers.count"),
        ([], ["SAE_LISTEN_TCP": "nowhere"], "listen.tcp"), (["--listen", "", "--unix", ""], [:], "listen"),
    ])
    func `a setting that cannot be stops the start with status 78`(
        _ arguments: [String], _ environment: [String: String], _ named: String
    ) async throws {
        let daemon = try Daemon(["--http", "", "--unix", "FOLDER/s"] + arguments, environment: environment)
        #expect(try await daemon.exitStatus() == 78)
        #expect(daemon.errors.contains(named), "\(daemon.errors)")
    }

    @Test func `no text, token or name of a peer is written to the log of the real daemon`() async throws {
        let canary = "zyxcanary"
        let bytes = Array(canary.utf8)
        let daemon = try Daemon(Self.quiet + ["--log-level", "trace", "--log-format", "json", "--log-slow-request-ms", "1"])
        _ = try await daemon.notifications(upTo: "READY=1")
        var options = ClientOptions()
        options.token = canary
        let client = try await Client(connectingTo: daemon.socket, options: options)
        _ = try await client.embed([canary, ""])
        _ = try await client.tokenize([canary])
        do { _ = try await client.similarity([canary, ""]) } catch { #expect(!error.description.contains(canary)) }
        do { _ = try await client.health(of: canary) } catch { #expect(!error.description.contains(canary)) }
        let peer = try RawPeer(daemon.socket)
        try await peer.send(helloFrame(software: canary))
        #expect(try await peer.words() == "hello")
        try await peer.send(embedRequest(1, [bytes]) { $0.dimensions = 9_999 })
        let end = try #require(try await peer.frame())
        #expect(words(end) == "END 1 INVALID_ARGUMENT" && !String(decoding: end.message, as: UTF8.self).contains(canary))
        try await peer.send(bytes)
        let goAway = try #require(try await peer.frame())
        #expect(words(goAway) == "GOAWAY INTERNAL bad_magic")
        #expect(!String(decoding: goAway.message, as: UTF8.self).contains(canary))
        client.close()
        kill(daemon.process.processIdentifier, SIGTERM)
        #expect(try await daemon.exitStatus() == 0)
        #expect(daemon.errors.contains("\"event\":\"protocol_error\"") && daemon.errors.contains("\"method\":\"Embed\""))
        #expect(!daemon.errors.contains(canary))
    }
}
