import ArgumentParser
import Glibc
import SAEClient

/// `sae admin`: what an administrator asks of a running daemon.
struct AdminCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "admin",
        abstract: "Make a running daemon read its settings again, or take leave.",
        subcommands: [Reload.self, Drain.self])

    /// Where the packaged units let a daemon listen: the socket that systemd holds, or the daemon's own.
    private static var packagedEndpoint: String {
        let activated = "/run/sae.sock"
        return access(activated, F_OK) == 0 ? "unix:\(activated)" : "unix:/run/sae/sae.sock"
    }

    struct Reload: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "reload",
            abstract: "Make the daemon read settings, tokens and model again, and say what changed.",
            discussion: """
                Examples:
                  sae admin reload
                  sae admin reload --connect tcp://127.0.0.1:7733 --token-file admin.token

                Without --connect, the daemon of this machine: /run/sae.sock, else /run/sae/sae.sock. When the new settings or the \
                model cannot be used, everything stays as it was, and the exit code is 65. Needs the role admin, which root and the \
                daemon's own user have.
                """)

        @OptionGroup var daemon: DaemonOptions

        func run() async throws {
            let client = try await daemon.client(at: daemon.connect ?? AdminCommand.packagedEndpoint)
            let report = try await client.reload()
            let generation = String(report.generationAfter, radix: 16)
            if report.generationBefore == report.generationAfter {
                print("generation \(generation), as before")
            } else {
                print("generation \(generation); before \(String(report.generationBefore, radix: 16))")
            }
            for setting in report.changedSettings { print("\(setting): in force") }
            for setting in report.settingsForRestart { print("\(setting): needs a restart") }
        }
    }

    struct Drain: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "drain",
            abstract: "Make the daemon send its clients elsewhere, answer what is under way, and end.",
            discussion: """
                Examples:
                  sae admin drain
                  sae admin drain --grace 5

                Does what SIGTERM does, from afar, and says what was open; it does not wait for the end. A service manager may start \
                the daemon again. Without --connect, the daemon of this machine: /run/sae.sock, else /run/sae/sae.sock. Needs the \
                role admin, which root and the daemon's own user have.
                """)

        @OptionGroup var daemon: DaemonOptions

        @Option(help: "Seconds for what is under way. (default: the daemon's setting drain.grace_ms)")
        var grace: Double?

        func validate() throws {
            guard (0.001...86_400).contains(grace ?? 1) else { throw ValidationError("--grace is 0.001 to 86,400 seconds") }
        }

        func run() async throws {
            let client = try await daemon.client(at: daemon.connect ?? AdminCommand.packagedEndpoint)
            let report = try await client.drain(grace: grace.map { .seconds($0) })
            print("draining: \(report.streams) calls under way, \(report.connections) connections")
        }
    }
}
