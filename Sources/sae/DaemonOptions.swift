import ArgumentParser
import Bytes
import Diagnostics
import Foundation
import SAEClient
import Synchronization
import Transport

/// Where the daemon is, for the commands that can ask one.
struct DaemonOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            """
            The daemon to ask: tcp://HOST:PORT, tls://HOST:PORT or unix:PATH. (default: SAE_CLIENT_CONNECT; without either, commands \
            that can compute here)
            """, valueName: "endpoint"
        ))
    var connect: String?

    @Option(
        help: """
            Seconds to try again while nobody answers there, or the daemon is too busy: it may be starting, or starting again. \
            (default: 3, and 15 later)
            """)
    var wait: Double?

    /// For the first connection.
    var firstWait: Duration { .seconds(wait ?? 3) }
    /// For a connection that was lost, and for calls that are refused.
    var laterWait: Duration { .seconds(wait ?? 15) }

    @Option(
        help: ArgumentHelp(
            "File with the token to show. (default: the one in SAE_CLIENT_TOKEN_FILE, or none)", valueName: "file"))
    var tokenFile: String?

    @Option(
        help: ArgumentHelp(
            "For tls://: PEM file of the authorities that may vouch for the daemon. (default: SAE_CLIENT_TLS_CA, or the system's)",
            valueName: "file"))
    var tlsCa: String?

    @Option(
        help: ArgumentHelp(
            "For tls://: PEM file of the certificate to show. (default: SAE_CLIENT_TLS_CERT, or none)", valueName: "file"))
    var tlsCert: String?

    @Option(help: ArgumentHelp("PEM file of its key. (default: SAE_CLIENT_TLS_KEY)", valueName: "file"))
    var tlsKey: String?

    func validate() throws {
        guard (0.1...86_400).contains(wait ?? 3) else { throw ValidationError("--wait is 0.1 to 86,400 seconds") }
        guard let connect else { return }
        try Self.check(connect, of: "--connect")
        let files = [("--tls-ca", tlsCa), ("--tls-cert", tlsCert), ("--tls-key", tlsKey)]
        if !connect.hasPrefix("tls://"), let (name, _) = files.first(where: { $0.1 != nil }) {
            throw ValidationError("\(name) is for --connect tls://HOST:PORT")
        }
    }

    /// Throws for flags that only a daemon has a use for, where this process computes.
    func checkUnused() throws {
        let given = [
            ("--wait", wait != nil), ("--token-file", tokenFile != nil), ("--tls-ca", tlsCa != nil), ("--tls-cert", tlsCert != nil),
            ("--tls-key", tlsKey != nil),
        ]
        guard let (name, _) = given.first(where: { $0.1 }) else { return }
        throw ValidationError("\(name) has no meaning without --connect: nothing is asked of a daemon")
    }

    /// Throws for an endpoint that is none; `origin` is where it was written.
    static func check(_ endpoint: String, of origin: String) throws {
        do throws(TransportError) { _ = try Endpoint(parsing: endpoint) } catch {
            throw ValidationError("\(origin) \(error.description)")
        }
    }

    /// With a note on standard error when the connection is lost, and with the token, which is never an argument or a variable itself.
    func clientOptions(_ endpoint: String) throws -> ClientOptions {
        var options = ClientOptions()
        let patience = laterWait
        options.reconnectTimeout = patience
        // Clients that share the options lose their connections together: that is told once.
        let lost = Atomic(0)
        options.onConnectionChange = { change in
            switch change {
            case .lost(let reason):
                guard lost.wrappingAdd(1, ordering: .relaxed).oldValue == 0 else { return }
                Terminal.printNote("lost the connection to \(endpoint): \(reason.message); trying again for \(patience)")
            case .restored:
                guard lost.wrappingSubtract(1, ordering: .relaxed).newValue == 0 else { return }
                Terminal.printNote("connected to \(endpoint) again")
            }
        }
        let environment = ProcessInfo.processInfo.environment
        if let path = tokenFile ?? environment["SAE_CLIENT_TOKEN_FILE"] {
            let file = try MappedFile(path)
            let text = withExtendedLifetime(file) { String(decoding: file.bytes, as: UTF8.self) }
            options.token = text.trimmingCharacters(in: .whitespacesAndNewlines)
        }
        options.tlsAuthorities = tlsCa ?? environment["SAE_CLIENT_TLS_CA"] ?? ""
        options.tlsCertificate = tlsCert ?? environment["SAE_CLIENT_TLS_CERT"] ?? ""
        options.tlsKey = tlsKey ?? environment["SAE_CLIENT_TLS_KEY"] ?? ""
        return options
    }

    func client(at endpoint: String) async throws -> Client {
        let clients = try await clients(at: endpoint, count: 1)
        return clients[0]
    }

    /// Clients with a pool each, which are told of together.
    func clients(at endpoint: String, count: Int) async throws -> [Client] {
        var options = try clientOptions(endpoint)
        options.refusalTimeout = laterWait
        var clients: [Client] = []
        for _ in 0..<count {
            clients.append(try await Client(connectingTo: endpoint, options: options, timeout: firstWait))
        }
        return clients
    }
}
