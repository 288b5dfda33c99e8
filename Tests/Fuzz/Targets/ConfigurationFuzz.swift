import Daemon
import Glibc

private let path = scratchPath("configuration.toml")
private let tokensPath = scratchPath("tokens")
private let modelPath: String = {
    let path = scratchPath("configured-model")
    write(smallModel, to: path)
    return path
}()

/// Settings from strangers. The first byte of an input chooses where the rest stands: 0 in the file, 1 in the environment (a
/// line is NAME=VALUE), 2 among the flags (a line is an argument), 3 in the tokens file.
///
/// What is accepted comes back equal when its listing is read as a file, and passes the check of `sae serve --check-config` or
/// fails it with words, the files that it names being ours; what is not accepted gives an error with words.
package func fuzzConfiguration(_ bytes: UnsafeRawBufferPointer) {
    guard !bytes.isEmpty else { return }
    let input = Array(bytes.dropFirst())
    if bytes[0] % 4 == 3 { return readTokens(input) }
    let lines = String(decoding: input, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    var arguments = ["--config", path]
    var environment: [String: String] = [:]
    write(bytes[0] % 4 == 0 ? input : [], to: path)
    if bytes[0] % 4 == 1 {
        for line in lines {
            let parts = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            environment[String(parts[0])] = parts.count > 1 ? String(parts[1]) : ""
        }
    } else if bytes[0] % 4 == 2 {
        // Another file would be one that is not ours.
        guard !lines.contains(where: { $0.hasPrefix("--config") }) else { return }
        arguments += lines
    }
    do throws(ConfigurationError) {
        let loaded = try LoadedConfiguration(arguments: arguments, environment: environment)
        try loaded.validate()
        // The first line is the file's own name, which no file may hold.
        write(Array(loaded.listing.split(separator: "\n").dropFirst().joined(separator: "\n").utf8), to: path)
        let again = try LoadedConfiguration(arguments: ["--config", path], environment: [:])
        var (first, second) = (loaded.configuration, again.configuration)
        (first.file, second.file) = ("", "")
        precondition(first == second, "the listing says other settings")
        checkFiles(of: first)
    } catch {
        checkWords(error.summary)
    }
    unlink(path)
}

private func checkFiles(of configuration: Configuration) {
    var configuration = configuration
    (configuration.modelPath, configuration.modelLibrary) = (modelPath, "")
    (configuration.tokensFile, configuration.tlsCertificate) = ("", "")
    (configuration.tlsKey, configuration.tlsClientAuthorities) = ("", "")
    do { try Service.checkFiles(configuration) } catch let error as ConfigurationError {
        checkWords(error.summary)
    } catch { preconditionFailure("its own model is refused: \(error)") }
}

private func readTokens(_ input: [UInt8]) {
    write(input, to: tokensPath)
    do throws(ConfigurationError) { _ = try Tokens(readingFile: tokensPath) } catch {
        checkWords(error.summary)
        precondition(error.summary.contains(tokensPath), "an error that names no file")
    }
    unlink(tokensPath)
}
