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
            let answer = Sae_V1_EmbedResponse.with {
                $0.count = 1
                $0.dimensions = 2
                $0.generation = 7
                $0.encoding = .f32
            }
            // 0.5 and 0.25.
            return [request.answer(answer, [0, 0, 0, 0x3f, 0, 0, 0x80, 0x3e])]
        }
        defer { server.stop() }
        let run = try Command(["embed", "--connect", "unix:\(path)", "one cat"])
        #expect(run.status == 0 && run.output == "0.5 0.25\n")
        #expect(run.errors == "\(lost) 15.0 seconds\nsae: connected to unix:\(path) again\n")
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
