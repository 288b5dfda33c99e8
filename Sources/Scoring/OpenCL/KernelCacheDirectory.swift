import Glibc

/// Where drivers keep compiled kernels. PoCL finds no device at all where it cannot write there, and without a
/// setting falls back to a predictable name in /tmp: so it is always told.
package struct KernelCacheDirectory: Sendable, Equatable {
    package let path: String

    package init(path: String) { self.path = path }

    /// The caller's environment decides: `POCL_CACHE_DIR`; else `opencl` in systemd's `CACHE_DIRECTORY`; else
    /// `sae/opencl` in `XDG_CACHE_HOME` or `HOME/.cache`; without any of them one of the process's own in `/tmp`.
    package init(environment: [String: String]) {
        func set(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
        path =
            if let path = set("POCL_CACHE_DIR") {
                path
            } else if let folder = set("CACHE_DIRECTORY") {
                "\(folder.prefix { $0 != ":" })/opencl"
            } else if let folder = set("XDG_CACHE_HOME") ?? set("HOME").map({ "\($0)/.cache" }) {
                "\(folder)/sae/opencl"
            } else {
                "/tmp/sae-opencl-\(geteuid())-\(getpid())"
            }
    }

    /// Makes the directory, proves that this user alone can write there (drivers load code from it), and tells PoCL.
    ///
    /// PoCL reads the name once, at its start: the first directory of a process stays.
    func prepare() throws(ScoringError) {
        var end = path.startIndex
        while end != path.endIndex {
            end = path[path.index(after: end)...].firstIndex(of: "/") ?? path.endIndex
            let folder = String(path[..<end])
            guard mkdir(folder, 0o700) == 0 || errno == EEXIST || errno == EROFS else {
                throw .cacheDirectory(path: path, errno: errno)
            }
        }
        var status = stat()
        guard lstat(path, &status) == 0 else { throw .cacheDirectory(path: path, errno: errno) }
        guard status.st_mode & S_IFMT == S_IFDIR else { throw .cacheDirectory(path: path, errno: ENOTDIR) }
        guard status.st_uid == geteuid(), status.st_mode & 0o022 == 0 else {
            throw .unsafeCacheDirectory(path: path)
        }
        var template = Array("\(path)/probe-XXXXXX".utf8CString)
        let descriptor = mkstemp(&template)
        guard descriptor >= 0 else { throw .cacheDirectory(path: path, errno: errno) }
        close(descriptor)
        unlink(template)
        // Only where it changes something: other threads may be reading the environment.
        if getenv("POCL_CACHE_DIR").map({ String(cString: $0) }) != path { setenv("POCL_CACHE_DIR", path, 1) }
    }
}
