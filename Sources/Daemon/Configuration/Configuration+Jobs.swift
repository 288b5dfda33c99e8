import Glibc

extension Configuration {
    /// The directories of `jobs.input_roots`.
    var inputRoots: [String] {
        jobsInputRoots.split(separator: ",").map { part in
            let start = part.drop { $0 == " " }
            return String(start.prefix(start.count - start.reversed().prefix { $0 == " " }.count))
        }
    }

    /// - Throws: `badValue` for a folder of jobs that somebody chose and that cannot be written (without the default one there are no
    ///   jobs, which the log says), and for directories of inputs that are not there, or depend on where the daemon was started.
    func checkJobFolders() throws(ConfigurationError) {
        guard jobsEnabled else { return }
        if stateDirectory != Configuration().stateDirectory, let reason = Self.problem(withDirectory: stateDirectory, access: R_OK | W_OK | X_OK) {
            throw .badValue(key: "state.directory", origin: "setting", value: stateDirectory, reason: reason)
        }
        for root in inputRoots {
            let reason =
                root.hasPrefix("/") ? Self.problem(withDirectory: root, access: X_OK) : "must be absolute paths, with commas between"
            if let reason { throw .badValue(key: "jobs.input_roots", origin: "setting", value: root, reason: reason) }
        }
    }

    /// Why the directory cannot be used by this process; nil if it can.
    private static func problem(withDirectory path: String, access mode: Int32) -> String? {
        var status = stat()
        guard stat(path, &status) == 0 else { return "must be a directory that is there" }
        guard status.st_mode & S_IFMT == S_IFDIR else { return "must be a directory" }
        return access(path, mode) == 0 ? nil : "must let this user in, and write for jobs"
    }
}
