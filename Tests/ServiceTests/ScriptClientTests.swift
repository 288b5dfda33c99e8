import Foundation
import SAEClient
import SAEEngine
import TestPeers
import TestSupport
import Testing

/// The client in plain Python beside the specification, which shares no code with the daemon.
@Suite struct ScriptClientTests {
    private static let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "proto-spec")

    /// Runs a script of `proto-spec`; what it printed, and its exit status.
    private func run(_ script: String, _ arguments: [String]) async throws -> (output: String, status: Int32) {
        let folder = try TemporaryFolder()
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = ["python3", "-B", Self.folder.appending(path: script).path] + arguments
        let output = folder.path("output")
        try Data().write(to: URL(filePath: output))
        process.standardOutput = FileHandle(forWritingAtPath: output)
        process.standardError = process.standardOutput
        try process.run()
        try #require(await eventually(60) { !process.isRunning })
        return (try String(contentsOfFile: output, encoding: .utf8), process.terminationStatus)
    }

    @Test(arguments: [true, false])
    func `whole conversations go as the specification says`(overTCP: Bool) async throws {
        let fixture = try ServiceFixture()
        let run = try await run(
            "conversations.py", ["--connect", overTCP ? fixture.tcpEndpoint : fixture.unixEndpoint])
        #expect(run.output == "32 conversations, 0 went otherwise\n")
        #expect(run.status == 0)
        #expect(await eventually { fixture.metric("sae_buffer_bytes") == 0 })
    }

    @Test(arguments: [[], ["--no-crc"]])
    func `the script gets the bits of the engine`(_ options: [String]) async throws {
        let fixture = try ServiceFixture()
        let texts = ["The cat watches the river.", "x", "Über 🙂"]
        let run = try await run(
            "client.py", options + ["--connect", fixture.tcpEndpoint, "--raw", "embed"] + texts)
        let bytes = fixture.vectors(texts).vectors.withUnsafeBytes { Array($0) }
        let hex = bytes.map { $0 < 16 ? "0" + String($0, radix: 16) : String($0, radix: 16) }.joined()
        #expect(run.output == hex + "\n")
    }

    @Test func `the script's other calls are answered, and a refusal is its exit status`() async throws {
        let fixture = try ServiceFixture()
        let connect = ["--connect", fixture.unixEndpoint]
        #expect(try await run("client.py", connect + ["health"]).output == "SERVING\n")
        #expect(try await run("client.py", connect + ["ping"]).output == "PONG\n")
        let info = try await run("client.py", connect + ["info"]).output
        #expect(info.contains("\"generation\": \"\(fixture.engine.generation)\""))
        let tokens = try await run("client.py", connect + ["tokenize", "a dog"]).output
        let pieces = try await Client(connectingTo: fixture.unixEndpoint).tokenize(["a dog"])[0]
        #expect(tokens.contains("\"ids\": [\(pieces.ids.map(String.init).joined(separator: ", "))]"))
        let matrix = try await run("client.py", connect + ["similarity", "--left", "1", "a dog", "a dog", "x"]).output
        let cells = try JSONDecoder().decode([[Float]].self, from: Data(matrix.utf8))
        let expected = try await Client(connectingTo: fixture.unixEndpoint).similarity(["a dog"], ["a dog", "x"])
        #expect(cells.flatMap { $0 } == expected.cosines && abs(cells[0][0] - 1) < 1e-5)
        let unknown = try await run("client.py", connect + ["health", "nobody"])
        #expect(unknown.status == 69 && unknown.output.contains("NOT_FOUND"))
    }

    @Test func `the script agrees with every golden frame`() async throws {
        let run = try await run("client.py", ["--check-vectors"])
        #expect(run.output == "all golden frames agree\n")
    }
}
