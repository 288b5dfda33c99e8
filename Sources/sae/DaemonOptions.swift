import ArgumentParser
import Diagnostics
import Transport

/// Where the daemon is, for the commands that can ask one.
struct DaemonOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Ask the daemon at tcp://HOST:PORT or unix:PATH instead of computing here.", valueName: "endpoint"
        ))
    var connect: String?

    func validate() throws {
        guard let connect else { return }
        do throws(TransportError) { _ = try Endpoint(parsing: connect) } catch {
            throw ValidationError("--connect \(error.description)")
        }
    }
}
