import ArgumentParser
import Diagnostics
import SAEClient
import Transport

/// Where the daemon is, for the commands that can ask one.
struct DaemonOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Ask the daemon at tcp://HOST:PORT or unix:PATH instead of computing here.", valueName: "endpoint"
        ))
    var connect: String?

    @Option(help: "Seconds in which the daemon must answer: it may still be starting.")
    var wait = 3.0

    func validate() throws {
        guard wait >= 0.1, wait <= 86_400 else { throw ValidationError("--wait is 0.1 to 86,400 seconds") }
        if let connect { try Self.check(connect, of: "--connect") }
    }

    /// Throws for an endpoint that is none; `origin` is where it was written.
    static func check(_ endpoint: String, of origin: String) throws {
        do throws(TransportError) { _ = try Endpoint(parsing: endpoint) } catch {
            throw ValidationError("\(origin) \(error.description)")
        }
    }

    func client(at endpoint: String) async throws -> Client {
        try await Client(connectingTo: endpoint, timeout: .seconds(wait))
    }
}
