import Daemon
import Glibc

private let path = "/tmp/sae-fuzz-configuration-\(getpid()).toml"

private func write(_ bytes: [UInt8]) {
    guard let file = fopen(path, "wb") else { preconditionFailure("cannot write \(path)") }
    fwrite(bytes, 1, bytes.count, file)
    fclose(file)
}

/// Settings from strangers. The first byte of an input chooses where the rest stands: 0 in the file, 1 in the environment (a
/// line is NAME=VALUE), 2 among the flags (a line is an argument).
///
/// What is accepted comes back equal when its listing is read as a file; what is not gives an error with words.
package func fuzzConfiguration(_ bytes: UnsafeRawBufferPointer) {
    guard !bytes.isEmpty else { return }
    let input = Array(bytes.dropFirst())
    let lines = String(decoding: input, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    var arguments = ["--config", path]
    var environment: [String: String] = [:]
    write(bytes[0] % 3 == 0 ? input : [])
    if bytes[0] % 3 == 1 {
        for line in lines {
            let parts = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            environment[String(parts[0])] = parts.count > 1 ? String(parts[1]) : ""
        }
    } else if bytes[0] % 3 == 2 {
        // Another file would be one that is not ours.
        guard !lines.contains(where: { $0.hasPrefix("--config") }) else { return }
        arguments += lines
    }
    do throws(ConfigurationError) {
        let loaded = try LoadedConfiguration(arguments: arguments, environment: environment)
        try loaded.validate()
        // The first line is the file's own name, which no file may hold.
        write(Array(loaded.listing.split(separator: "\n").dropFirst().joined(separator: "\n").utf8))
        let again = try LoadedConfiguration(arguments: ["--config", path], environment: [:])
        var (first, second) = (loaded.configuration, again.configuration)
        (first.file, second.file) = ("", "")
        precondition(first == second, "the listing says other settings")
    } catch {
        precondition(!error.summary.isEmpty, "an error without words")
    }
    unlink(path)
}
