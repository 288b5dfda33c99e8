import Foundation
import TestSupport

/// One run of the built binary, which lies beside the test's.
struct Command {
    var status: Int32
    var output: String
    var errors: String

    static let binary =
        Bundle.main.executableURL?.resolvingSymlinksInPath().deletingLastPathComponent()
        .appendingPathComponent("sae").path ?? "sae"

    /// Runs lines of a shell, in which `$SAE` is the binary: for what only a shell can pass.
    init(shell script: String, environment: [String: String] = [:]) throws {
        try self.init(
            program: "/bin/sh", ["-c", script], environment: ["SAE": Self.binary].merging(environment) { $1 })
    }

    init(_ arguments: [String], input: [UInt8] = [], environment: [String: String] = [:]) throws {
        try self.init(program: Self.binary, arguments, input: input, environment: environment)
    }

    private init(
        program: String, _ arguments: [String], input: [UInt8] = [], environment: [String: String] = [:]
    ) throws {
        let folder = try TemporaryFolder()
        let files = ["in", "out", "err"].map { folder.path($0) }
        try Data(input).write(to: URL(fileURLWithPath: files[0]))
        for file in files[1...] { try Data().write(to: URL(fileURLWithPath: file)) }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        process.environment = ["PATH": "/usr/bin:/bin"].merging(environment) { $1 }
        process.standardInput = FileHandle(forReadingAtPath: files[0])
        process.standardOutput = FileHandle(forWritingAtPath: files[1])
        process.standardError = FileHandle(forWritingAtPath: files[2])
        try process.run()
        process.waitUntilExit()
        status = process.terminationStatus
        output = try String(contentsOfFile: files[1], encoding: .utf8)
        errors = try String(contentsOfFile: files[2], encoding: .utf8)
    }
}
