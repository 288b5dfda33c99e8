import ArgumentParser
import Glibc

/// Where the program starts and ends: every error leaves through here, as one line and an exit code.
@main
enum Entry {
    static func main() async {
        // A reader that goes away is an error of write(2), which the command reports or ends with.
        signal(SIGPIPE, SIG_IGN)
        do {
            var command = try SAE.parseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch {
            exit(report(error))
        }
    }

    /// Prints the error, or the help that was asked for, and gives the exit code.
    private static func report(_ error: any Error) -> Int32 {
        let code = ExitStatus.code(of: error)
        guard let code else {
            // Help, version, completions, a wrong flag, or a code that a command chose itself.
            let parserCode = SAE.exitCode(for: error)
            if parserCode.isSuccess { SAE.exit(withError: error) }
            guard !(error is ExitCode) else { return parserCode.rawValue }
            let message = SAE.message(for: error)
            Terminal.printError(message.isEmpty ? "wrong usage; see sae --help" : message)
            return ExitStatus.usage
        }
        if code != ExitStatus.brokenPipe { Terminal.printError(ExitStatus.text(of: error)) }
        return code
    }
}
