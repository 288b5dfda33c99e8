import ArgumentParser
import Bytes
import Diagnostics
import Foundation
import SAEClient
import Transport

/// Where the daemon is, for the commands that can ask one.
struct DaemonOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Ask the daemon at tcp://HOST:PORT, tls://HOST:PORT or unix:PATH instead of computing here.", valueName: "endpoint"
        ))
    var connect: String?

    @Option(help: "Seconds in which the daemon must answer: it may still be starting.")
    var wait = 3.0

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
        guard wait >= 0.1, wait <= 86_400 else { throw ValidationError("--wait is 0.1 to 86,400 seconds") }
        if let connect { try Self.check(connect, of: "--connect") }
    }

    /// Throws for an endpoint that is none; `origin` is where it was written.
    static func check(_ endpoint: String, of origin: String) throws {
        do throws(TransportError) { _ = try Endpoint(parsing: endpoint) } catch {
            throw ValidationError("\(origin) \(error.description)")
        }
    }

    /// With the token, which is never an argument or a variable itself.
    func clientOptions() throws -> ClientOptions {
        var options = ClientOptions()
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
        try await Client(connectingTo: endpoint, options: try clientOptions(), timeout: .seconds(wait))
    }
}
