import Diagnostics
import Glibc

/// What differs between a person at a terminal and a file or pipe.
enum Terminal {
    /// True when standard error is a terminal.
    static var isInteractive: Bool { isatty(STDERR_FILENO) == 1 }

    /// Colours are for terminals, and for people who did not set NO_COLOR.
    static func hasColours(on descriptor: Int32) -> Bool {
        guard isatty(descriptor) == 1, let kind = getenv("TERM"), String(cString: kind) != "dumb" else { return false }
        return getenv("NO_COLOR") == nil
    }

    /// One line on standard error: `sae: error: …`. Line breaks of the message become spaces, other control characters
    /// are escaped.
    static func printError(_ message: String) {
        let line = message.split { $0.isNewline }.map { $0.drop { $0 == " " } }.joined(separator: " ").printable()
        let label = hasColours(on: STDERR_FILENO) ? "\u{1B}[1;31merror:\u{1B}[0m" : "error:"
        write("\(freshLine)sae: \(label) \(line.hasPrefix("Error: ") ? String(line.dropFirst(7)) : line)\n")
    }

    /// One line on standard error that is no error.
    static func printNote(_ message: String) { write("\(freshLine)sae: \(message)\n") }

    /// Takes away what a progress bar has on the line; it comes back with the bar's next update.
    private static var freshLine: String { isInteractive ? "\r\u{1B}[K" : "" }

    /// Writes to standard error, unbuffered. Nobody is left to tell when that fails.
    static func write(_ text: String) {
        var text = text
        text.withUTF8 { _ = Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }
}
