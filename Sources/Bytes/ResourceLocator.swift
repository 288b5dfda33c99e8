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
        var candidates: [String] = []
        var folder = executable.map(parent)
        if let folder { candidates.append("\(parent(folder))/share/sae/models/\(name)") }
        while let current = folder, current != "/", !current.isEmpty {
            if access("\(current)/Package.swift", R_OK) == 0 {
                candidates.insert("\(current)/deploy/models/\(name)", at: 0)
            }
            folder = parent(current)
        }
        return candidates + ["/usr/local/share/sae/models/\(name)", "/usr/share/sae/models/\(name)"]
    }

    /// The first candidate that can be read, or a `FileError` that names the place looked at first.
    package static func model(
        _ name: String = defaultModelName, executable: String? = executablePath
    ) throws(FileError) -> String {
        let candidates = modelCandidates(name, executable: executable)
        if let found = candidates.first(where: { access($0, R_OK) == 0 }) { return found }
        throw .system(operation: "find the default model, for instance as", path: candidates[0], errno: ENOENT)
    }

    /// The folder of an absolute path; of `/` it is `/`.
    private static func parent(_ path: String) -> String {
        guard let slash = path.lastIndex(of: "/"), slash != path.startIndex else { return "/" }
        return String(path[..<slash])
    }
}
