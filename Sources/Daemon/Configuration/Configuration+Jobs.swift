extension Configuration {
    /// The directories of `jobs.input_roots`.
    var inputRoots: [String] {
        jobsInputRoots.split(separator: ",").map { part in
            let start = part.drop { $0 == " " }
            return String(start.prefix(start.count - start.reversed().prefix { $0 == " " }.count))
        }
    }

    /// - Throws: `badValue` for a directory that depends on where the daemon was started.
    func checkInputRoots() throws(ConfigurationError) {
        for root in inputRoots where !root.hasPrefix("/") {
            throw .badValue(
                key: "jobs.input_roots", origin: "setting", value: jobsInputRoots, reason: "must be absolute paths, with commas between")
        }
    }
}
