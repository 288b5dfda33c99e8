import ArgumentParser
import Bytes
import Daemon
import Diagnostics
import Glibc

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

    @Flag(help: "Print every setting with its value and origin, and stop.")
    var checkConfig = false

    @Argument(parsing: .allUnrecognized, help: "Settings, as listed above.")
    var settings: [String] = []

    func run() throws {
        let loaded: LoadedConfiguration
        do {
            loaded = try LoadedConfiguration(arguments: settings, environment: processEnvironment())
            try loaded.configuration.validate()
        } catch {
            complain(error)
            throw ExitCode(78)
        }
        if checkConfig {
            print(loaded.listing, terminator: "")
            return
        }
        do {
            let given = loaded.configuration.modelPath
            let path = given.isEmpty ? try ResourceLocator.model() : given
            try Service.run(loaded.configuration, modelPath: path, environment: processEnvironment())
        } catch {
            complain(error)
            if error is ConfigurationError { throw ExitCode(78) }
            throw ExitCode((error as? any UserFacingError)?.category == .unavailable ? 69 : 70)
        }
    }

    private static var settingsHelp: String {
        let defaults = Configuration()
        return Setting.all.map {
            "  \($0.flag) (\($0.environment), \($0.value(in: defaults))): \($0.meaning)"
        }.joined(separator: "\n")
    }
}

private func complain(_ error: any Error) {
    let line = Array("sae: error: \(error)\n".utf8)
    _ = line.withUnsafeBytes { write(2, $0.baseAddress, $0.count) }
}

private func processEnvironment() -> [String: String] {
    var result: [String: String] = [:]
    var entry = environ
    while let line = entry.pointee {
        let parts = String(cString: line).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        if parts.count == 2 { result[String(parts[0])] = String(parts[1]) }
        entry += 1
    }
    return result
}
