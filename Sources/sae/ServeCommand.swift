import ArgumentParser
import Bytes
import Daemon
import Foundation
import Scoring

/// `sae serve`: the daemon in the foreground, until SIGTERM or SIGINT.
struct ServeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Answer embedding requests over TCP and Unix sockets.",
        discussion: """
            EXAMPLES:
              sae serve --listen 127.0.0.1:7733 --unix /tmp/sae.sock
              sae serve --config /etc/sae/sae.toml --check-config

            SETTINGS (flag, environment, default):
            \(settingsHelp)
            """)

    @Flag(help: "Read every file that a start needs, print every setting with its value and origin, and stop.")
    var checkConfig = false

    @Argument(parsing: .allUnrecognized, help: "Settings, as listed above.")
    var settings: [String] = []

    func run() throws {
        let environment = ProcessInfo.processInfo.environment
        let loaded = try LoadedConfiguration(arguments: settings, environment: environment)
        try loaded.validate()
        if checkConfig {
            try Service.checkFiles(loaded.configuration)
            print(loaded.listing, terminator: "")
            return
        }
        let arguments = settings
        try Service.run(environment: environment, probe: .ofThisProgram(environment: environment)) {
            let loaded = try LoadedConfiguration(arguments: arguments, environment: environment)
            try loaded.validate()
            return loaded.configuration
        }
    }

    private static var settingsHelp: String {
        let defaults = Configuration()
        return Setting.all.map {
            "  \($0.flag) (\($0.environment), \($0.value(in: defaults))): \($0.meaning)"
        }.joined(separator: "\n")
    }
}
