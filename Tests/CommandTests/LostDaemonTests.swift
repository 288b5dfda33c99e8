import Foundation
import Messages
import SwiftProtobuf
import TestPeers
import TestSupport
import Testing
import Wire

/// What the commands do when the daemon goes away in the midst of their work.
@Suite struct LostDaemonTests {
    let folder: TemporaryFolder
    private var path: String { folder.path("s") }
    private var lost: String { "sae: lost the connection to unix:\(path): the server closed the connection; trying again for" }

    init() throws { folder = try TemporaryFolder() }

    @Test func `a daemon that goes away is told of, and waited for no longer than --wait`() throws {
        let path = path
        let server = try ScriptedServer(at: path) { _ in
            unlink(path)
            return [.close]
        }
        defer { server.stop() }
        let run = try Command(["embed", "--connect", "unix:\(path)", "--wait", "1", "one cat"])
        #expect(run.status == 69 && run.output.isEmpty)
        let end = "sae: error: the server could not be reached again within 1.0 seconds: cannot connect to unix:\(path): "
            + "No such file or directory (UNAVAILABLE); check the address, and that the daemon runs there and accepts connections\n"
        #expect(run.errors == "\(lost) 1.0 seconds\n\(end)")
    }

    @Test func `a daemon that comes back goes on, and both is told`() throws {
        let server = try ScriptedServer(at: path) { request in
            guard request.number > 0 else { return [.close] }
            return [request.answer(Self.answer, Self.half)]
        }
        defer { server.stop() }
        let run = try Command(["embed", "--connect", "unix:\(path)", "one cat"])
        #expect(run.status == 0 && run.output == "0.5 0.25\n")
        #expect(run.errors == "\(lost) 15.0 seconds\nsae: connected to unix:\(path) again\n")
    }

    /// 0.5 and 0.25.
    private static let half: [UInt8] = [0, 0, 0, 0x3f, 0, 0, 0x80, 0x3e]
    private static let answer = Sae_V1_EmbedResponse.with {
        $0.count = 1
        $0.dimensions = 2
        $0.generation = 7
        $0.encoding = .f32
    }

    @Test func `a daemon that is too busy is asked again for as long as --wait says`() throws {
        let server = try ScriptedServer(at: path) { request in
            request.number < 12 ? [request.end(.resourceExhausted, retryAfter: 10)] : [request.answer(Self.answer, Self.half)]
        }
        defer { server.stop() }
        let run = try Command(["embed", "--connect", "unix:\(path)", "--wait", "60", "one cat"])
        #expect(run.status == 0 && run.output == "0.5 0.25\n", "\(run.errors)")
        #expect(server.requests.count == 13)
    }

    @Test func `a daemon that stays too busy is given up after --wait`() throws {
        let server = try ScriptedServer(at: path) { [$0.end(.resourceExhausted, retryAfter: 50)] }
        defer { server.stop() }
        let run = try Command(["embed", "--connect", "unix:\(path)", "--wait", "0.5", "one cat"])
        #expect(run.status == 75 && run.errors.contains("RESOURCE_EXHAUSTED"), "\(run.errors)")
        #expect(server.requests.count > 3)
    }

    @Test func `a corpus waits for a daemon that is too busy`() throws {
        let server = try ScriptedServer(
            at: path, hear: { $0.number < 8 ? [$0.end(.resourceExhausted, retryAfter: 10)] : [$0.part(Self.answer, Self.half), $0.finish()] }
        ) { request in
            request.number > 0 ? [] : [request.answer(Sae_V1_InfoResponse.with { $0.generation = 7; $0.dimensions = 2 })]
        }
        defer { server.stop() }
        try "one cat\n".write(toFile: folder.path("texts"), atomically: true, encoding: .utf8)
        let script = "$SAE corpus embed $F/texts --output $F/v.npy --connect unix:$F/s --wait 60 && tail -c 8 $F/v.npy | od -An -tx1"
        let run = try Command(shell: script, environment: ["F": folder.root])
        #expect(run.status == 0 && run.output.contains("00 00 00 3f 00 00 80 3e"), "\(run.errors)")
    }

    @Test func `the loss is told while the command waits, not when it ends`() throws {
        let path = path
        let server = try ScriptedServer(at: path) { request in
            guard request.number > 0 else {
                let answer = Sae_V1_InfoResponse.with {
                    $0.generation = 7
                    $0.dimensions = 2
                }
                return [request.answer(answer)]
            }
            unlink(path)
            return [.close]
        }
        defer { server.stop() }
        try "one cat\n".write(toFile: folder.path("texts"), atomically: true, encoding: .utf8)
        let script = """
            $SAE corpus embed $F/texts --output $F/v.npy --connect unix:$F/s --wait 600 2>$F/err & command=$!
            tries=0
            until grep -q 'lost the connection' $F/err || [ $tries -ge 600 ]; do sleep 0.05; tries=$((tries + 1)); done
            kill $command && cat $F/err
            """
        let run = try Command(shell: script, environment: ["F": folder.root])
        #expect(run.output.hasSuffix("\(lost) 600.0 seconds\n"), "\(run.output)")
    }
}
