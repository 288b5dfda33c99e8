import Glibc

/// A folder in memory where there is one: targets write a file at each input.
private let folder = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"

/// The path of a file that is this process's own.
func scratchPath(_ name: String) -> String { "\(folder)/sae-fuzz-\(getpid())-\(name)" }

/// Makes `bytes` the contents of `path`, which others may not read.
func write(_ bytes: [UInt8], to path: String) {
    guard let file = fopen(path, "wb") else { preconditionFailure("cannot write \(path)") }
    fwrite(bytes, 1, bytes.count, file)
    fchmod(fileno(file), 0o600)
    fclose(file)
}

/// What an error says to a person who reads it on a terminal.
func checkWords(_ words: String) {
    precondition(!words.isEmpty && words.count < 2_000, "an error without words, or with too many")
    precondition(!words.unicodeScalars.contains { $0.value < 32 }, "an error that a terminal would obey")
}
