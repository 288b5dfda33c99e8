import Diagnostics
import Glibc

/// Tries a device in a process of its own, because a driver may end the process that it works in: PoCL aborts where `PATH`
/// has no linker, and where its cache is full or its file system forbids execution.
package struct DeviceProbe: Sendable {
    /// The program and its first arguments; the device's name is added. It builds and runs a kernel and exits with 0, also
    /// where it meets an error that would be thrown here too.
    private let command: [String]
    private let environment: [String: String]
    private let timeout: Duration

    /// `timeout`: a first build takes 1 to 2 s with PoCL, and a machine may be busy.
    package init(command: [String], environment: [String: String], timeout: Duration = .seconds(30)) {
        self.command = command
        self.environment = environment
        self.timeout = timeout
    }

    /// Blocks until the device has been tried.
    /// - Throws: `crash` when the process died, failed or did not end in time.
    package func check(device: String, cacheDirectory: KernelCacheDirectory) throws(ScoringError) {
        func crash(_ ending: String, _ said: [UInt8] = []) -> ScoringError {
            let text = String(decoding: said, as: UTF8.self).split(whereSeparator: \.isNewline).joined(separator: " | ")
            return .crash(device: device, ending: ending, said: text.printable(maximum: 300), cache: cacheDirectory.path)
        }
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw crash("could not be started") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        defer { close(ends[0]) }
        let child = spawn(device, cacheDirectory, errors: ends[1])
        close(ends[1])
        guard let child else { throw crash("could not be started") }
        let clock = ContinuousClock()
        let end = clock.now + timeout
        var said: [UInt8] = []
        var status: Int32 = 0
        while waitpid(child, &status, WNOHANG) == 0 {
            guard clock.now < end else {
                // With what it has started.
                kill(-child, SIGKILL)
                waitpid(child, &status, 0)
                throw crash("did not end within \(timeout)", said)
            }
            read(ends[0], into: &said, milliseconds: 20)
        }
        read(ends[0], into: &said, milliseconds: 0)
        let signal = status & 0x7f
        if signal != 0 { throw crash("was ended by signal \(signal) (\(String(cString: strsignal(signal))))", said) }
        let code = status >> 8 & 0xff
        if code != 0 { throw crash("ended with exit code \(code)", said) }
    }

    /// Starts the program in a process group of its own; its standard error goes to `errors`.
    private func spawn(_ device: String, _ cacheDirectory: KernelCacheDirectory, errors: Int32) -> pid_t? {
        // No backtrace of the crash that is looked for.
        let variables = environment.merging(["POCL_CACHE_DIR": cacheDirectory.path, "SWIFT_BACKTRACE": "enable=no"]) { $1 }
        var arguments = (command + [device]).map { strdup($0) } + [nil]
        var strings = variables.map { strdup("\($0)=\($1)") } + [nil]
        defer { for string in arguments + strings { free(string) } }
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO)
        // A thread of Dispatch, which may be calling, blocks the signals that the process should hear.
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK))
        var child: pid_t = 0
        guard posix_spawn(&child, command[0], &actions, &attributes, &arguments, &strings) == 0 else { return nil }
        return child
    }

    /// Takes what is there, and waits for it at most so long. Beyond 4 KB it is dropped: a driver's first words say why.
    private func read(_ descriptor: Int32, into said: inout [UInt8], milliseconds: Int32) {
        var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&waiting, 1, milliseconds) > 0 else { return }
        var buffer = [UInt8](repeating: 0, count: 4_096)
        let count = Glibc.read(descriptor, &buffer, buffer.count)
        guard count > 0 else {
            // The other end is closed, which poll tells at once.
            usleep(1_000 * UInt32(milliseconds))
            return
        }
        said += buffer[..<min(count, 4_096 - said.count)]
    }
}
