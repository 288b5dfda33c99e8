import Foundation
import TestSupport
import Testing

/// Authorities, certificates and keys in a folder of their own, made by the `openssl` program.
final class Certificates: Sendable {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        try addAuthority("ca")
    }

    func path(_ name: String) -> String { folder.path(name) }

    /// `NAME.pem` and `NAME.key` of an authority.
    func addAuthority(_ name: String) throws {
        try openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-keyout",
            path("\(name).key"), "-out", path("\(name).pem"), "-subj", "/CN=\(name)")
    }

    /// `NAME.pem` and `NAME.key`, of `authority`, for `names` as OpenSSL writes them. Negative days: it has expired.
    func add(
        _ name: String, by authority: String = "ca", for names: String = "DNS:localhost,IP:127.0.0.1", days: Int = 2
    ) throws {
        try openssl(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", path("\(name).key"), "-out",
            path("\(name).csr"), "-subj", "/CN=\(name)")
        try Data("subjectAltName=\(names)\n".utf8).write(to: URL(fileURLWithPath: path("\(name).ext")))
        try openssl(
            "x509", "-req", "-in", path("\(name).csr"), "-CA", path("\(authority).pem"), "-CAkey", path("\(authority).key"),
            "-days", String(days), "-extfile", path("\(name).ext"), "-out", path("\(name).pem"))
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path("\(name).key"))
    }

    private func openssl(_ arguments: String...) throws {
        let (status, output) = try run("openssl", arguments)
        guard status == 0 else { throw Failed(output: output) }
    }

    struct Failed: Error { let output: String }
}

/// Runs a program of the system with nothing to read, at most `seconds`; its exit status and all that it wrote.
func run(_ program: String, _ arguments: [String], within seconds: Int = 20) throws -> (status: Int32, output: String) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/timeout")
    process.arguments = [String(seconds), program] + arguments
    let pipe = Pipe()
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = pipe
    process.standardError = pipe
    try process.run()
    let output = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (process.terminationStatus, String(decoding: output, as: UTF8.self))
}
