import Foundation

/// A run of `library-writer`, which lies beside the test's executable.
final class WriterProcess {
    static let binary =
        Bundle.main.executableURL?.resolvingSymlinksInPath().deletingLastPathComponent()
        .appendingPathComponent("library-writer").path ?? "library-writer"

    private let process = Process()
    private let pipe = Pipe()
    private var rest: [UInt8] = []

    /// Runs it as it is, or what `sh -c` makes of `wrapped` with the binary as `$0`.
    init(_ arguments: [String], shell: String? = nil) throws {
        process.executableURL = URL(fileURLWithPath: shell == nil ? Self.binary : "/bin/sh")
        process.arguments = (shell.map { ["-c", $0, Self.binary] } ?? []) + arguments
        process.standardOutput = pipe
        process.standardError = FileHandle.nullDevice
        try process.run()
    }

    /// The next line of its output; nil when there is none any more.
    func nextLine() -> String? {
        while true {
            if let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
                defer { rest.removeFirst(end + 1) }
                return String(decoding: rest[..<end], as: UTF8.self)
            }
            let more = pipe.fileHandleForReading.availableData
            guard !more.isEmpty else { return nil }
            rest += more
        }
    }

    /// All lines from here to the end, and how it ended.
    func finish() -> (lines: [String], status: Int32) {
        var lines: [String] = []
        while let line = nextLine() { lines.append(line) }
        process.waitUntilExit()
        return (lines, process.terminationStatus)
    }

    func kill() { Foundation.kill(process.processIdentifier, SIGKILL) }

    var isRunning: Bool { process.isRunning }
}
