import Glibc

/// Finds the files that come with the program, without a flag: in a checkout and in an installed tree.
package enum ResourceLocator {
    /// The model that is shipped in the repository and in packages.
    package static let defaultModelName = "default.sae"

    /// The running program's own file, links resolved; nil where /proc is not mounted.
    package static var executablePath: String? {
        guard let resolved = realpath("/proc/self/exe", nil) else { return nil }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    /// Where model `name` may lie, best first: `deploy/models` of the checkout that holds the executable (each
    /// folder above it that has a `Package.swift`), `share/sae/models` beside its `bin`, then /usr/local and /usr.
    package static func modelCandidates(_ name: String = defaultModelName, executable: String?) -> [String] {
        candidates(checkout: "deploy/models/\(name)", installed: "models/\(name)", executable: executable)
    }

    /// A script for teachers: of `scripts/teacher` in a checkout, of `share/sae/teacher` in an installed tree.
    package static func teacherScript(
        _ name: String, executable: String? = executablePath
    ) throws(FileError) -> String {
        try first(
            of: candidates(checkout: "scripts/teacher/\(name)", installed: "teacher/\(name)", executable: executable),
            what: name)
    }

    private static func candidates(checkout: String, installed name: String, executable: String?) -> [String] {
        var checkouts: [String] = []
        var installed: [String] = []
        if let executable {
            var folder = parent(executable)
            installed.append("\(parent(folder))/share/sae/\(name)")
            while folder != "/" {
                if access("\(folder)/Package.swift", R_OK) == 0 {
                    checkouts.append("\(folder)/\(checkout)")
                }
                folder = parent(folder)
            }
        }
        return checkouts + installed + [
            "/usr/local/share/sae/\(name)", "/usr/share/sae/\(name)",
        ]
    }

    /// The first candidate that can be read, or a `FileError` that names the place looked at first.
    package static func model(
        _ name: String = defaultModelName, executable: String? = executablePath
    ) throws(FileError) -> String {
        try first(of: modelCandidates(name, executable: executable), what: "the default model")
    }

    private static func first(of candidates: [String], what: String) throws(FileError) -> String {
        if let found = candidates.first(where: { access($0, R_OK) == 0 }) { return found }
        throw .system(operation: "find \(what), for instance as", path: candidates[0], errno: ENOENT)
    }

    /// The folder of an absolute path; of `/` it is `/`.
    private static func parent(_ path: String) -> String {
        guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else { return "/" }
        return String(path[..<slash])
    }
}
