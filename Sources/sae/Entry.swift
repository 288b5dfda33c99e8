import ArgumentParser
import CPosix
import Glibc

/// Where the program starts and ends: every error leaves through here, as one line and an exit code.
@main
enum Entry {
    static func main() async {
        // A reader that goes away is an error of write(2), which the command reports or ends with.
        signal(SIGPIPE, SIG_IGN)
        fillStandardDescriptors()
        var code: Int32 = 0
        do {
            try checkArguments()
            try checkHelp()
            var command = try SAE.parseAsRoot()
            (command as? any MatrixCommand)?.restartForOpenBLAS()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch {
            code = report(error)
        }
        // Printing does not tell of its failures.
        let result = sae_finish_standard_output()
        if result != 0, code == 0 {
            code = -result == EPIPE ? ExitStatus.brokenPipe : ExitStatus.inputOutput
            if code != ExitStatus.brokenPipe {
                Terminal.printError("cannot write standard output: \(String(cString: strerror(-result)))")
            }
        }
        exit(code)
    }

    /// Descriptors 0 to 2 that the caller closed would be given to the next file or socket. What cannot be read or
    /// written stands there instead; of standard error, what is dropped.
    private static func fillStandardDescriptors() {
        for (number, mode) in [(0, O_WRONLY), (1, O_RDONLY), (2, O_WRONLY)] where fcntl(Int32(number), F_GETFD) < 0 {
            _ = open("/dev/null", mode)
        }
    }

    /// What Swift gives as arguments has U+FFFD where bytes were no UTF-8: another text than was meant.
    private static func checkArguments() throws {
        for index in 1..<max(1, Int(CommandLine.argc)) {
            guard let argument = CommandLine.unsafeArgv[index], String(validatingCString: argument) == nil else { continue }
            throw CommandError.usage(
                "argument \(index) is not UTF-8: give texts of such bytes with --input, and rename such files")
        }
    }

    /// The parser's own `help` shows the nearest command that it knows, and says nothing of the others.
    private static func checkHelp() throws {
        guard CommandLine.arguments.dropFirst().first == "help" else { return }
        var command: any ParsableCommand.Type = SAE.self
        for name in CommandLine.arguments.dropFirst(2) where !name.hasPrefix("-") {
            guard let next = command.configuration.subcommands.first(where: { $0.configuration.commandName == name }) else {
                throw CommandError.usage("there is no command '\(CommandLine.arguments.dropFirst(2).joined(separator: " "))'")
            }
            command = next
        }
    }

    /// Prints the error, or the help that was asked for, and gives the exit code.
    private static func report(_ error: any Error) -> Int32 {
        guard let code = ExitStatus.code(of: error) else {
            // Help, version, completions, a wrong flag, or a code that a command chose itself.
            let parserCode = SAE.exitCode(for: error)
            guard !(error is ExitCode) else { return parserCode.rawValue }
            if parserCode.isSuccess {
                print(SAE.fullMessage(for: error))
                return 0
            }
            var message = SAE.message(for: error)
            if let flag = unknownFlag(), !message.contains(flag) { message = "Unknown option '\(flag)'" }
            Terminal.printError(message.isEmpty ? "wrong usage; see sae --help" : message)
            return ExitStatus.usage
        }
        if code != ExitStatus.brokenPipe { Terminal.printError(ExitStatus.text(of: error)) }
        return code
    }

    /// A flag that the help of the command does not have. The parser looks for what is missing first, and so may hide it.
    private static func unknownFlag() -> String? {
        let arguments = CommandLine.arguments.dropFirst().prefix { $0 != "--" }
        var command: any ParsableCommand.Type = SAE.self
        for argument in arguments {
            guard let next = command.configuration.subcommands.first(where: { $0.configuration.commandName == argument })
            else { break }
            command = next
        }
        let help = SAE.helpMessage(for: command, includeHidden: true)
        let known = Set(help.split { !$0.isLetter && !$0.isNumber && $0 != "-" })
        return arguments.filter { $0.hasPrefix("--") }.map { $0.prefix { $0 != "=" } }.first { !known.contains($0) }
            .map(String.init)
    }
}
