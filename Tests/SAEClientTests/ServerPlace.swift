import TestPeers
import TestSupport

/// A socket in a folder of its own, and the scripted server that listens there.
struct ServerPlace {
    let folder: TemporaryFolder
    var endpoint: String { "unix:\(folder.path("s"))" }

    init() throws { folder = try TemporaryFolder() }

    func server(
        limits: [String: UInt64] = [:], hear: @escaping @Sendable (ScriptedServer.Request) -> [ScriptedServer.Act] = { _ in [] },
        _ respond: @escaping @Sendable (ScriptedServer.Request) -> [ScriptedServer.Act]
    ) throws -> ScriptedServer {
        try ScriptedServer(at: folder.path("s"), limits: limits, hear: hear, respond: respond)
    }
}
