import CPosix
import Glibc

/// Writes a file so that its name always stands for a whole one: a file without a name in the same folder, fsync, a
/// temporary name, rename, fsync of the folder. Without `commit()` nothing is left behind, even of a process that was
/// killed; only where the file system has no unnamed files (`O_TMPFILE`), or /proc is missing, the temporary name is there
/// from the start. A symbolic link stays one: its target is replaced. What is there and no regular file, such as a pipe or
/// `/dev/null`, is written to as it is.
package struct AtomicFileWriter: ~Copyable {
    private let path: String
    /// Nil when the bytes go straight to `path`.
    private let temporary: String?
    private let file: FileDescriptor
    /// The temporary name is on the disk.
    private var isNamed = false

    package init(_ path: String) throws(FileError) {
        var status = stat()
        if stat(path, &status) == 0, status.st_mode & S_IFMT != S_IFREG {
            self.path = path
            temporary = nil
            file = try FileDescriptor(path, flags: O_WRONLY)
            return
        }
        let target = realpath(path, nil)
        defer { free(target) }
        self.path = target.map { String(cString: $0) } ?? path
        let temporary = "\(self.path).partial.\(getpid())"
        self.temporary = temporary
        let unnamed = access("/proc/self/fd", X_OK) == 0 ? sae_open_unnamed(folder(of: self.path), 0o666) : -1
        if unnamed >= 0 {
            file = FileDescriptor(adopting: unnamed, path: path)
            return
        }
        do throws(FileError) {
            file = try FileDescriptor(temporary, flags: O_WRONLY | O_CREAT | O_TRUNC)
            isNamed = true
        } catch {
            guard case .system(let operation, _, let number) = error else { throw error }
            throw .system(operation: operation, path: path, errno: number)
        }
    }

    deinit { if isNamed, let temporary { unlink(temporary) } }

    package func append(_ bytes: UnsafeRawBufferPointer) throws(FileError) { try file.write(bytes) }

    package func append(_ bytes: [UInt8]) throws(FileError) {
        var failure: FileError?
        bytes.withUnsafeBytes { buffer in
            do throws(FileError) { try file.write(buffer) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    /// Makes the file appear under its name, durably.
    package mutating func commit() throws(FileError) {
        guard let temporary else { return }
        try file.synchronize()
        if !isNamed {
            // Left by a killed process that had this one's number.
            unlink(temporary)
            let result = sae_name_file(file.number, temporary)
            guard result == 0 else { throw .system(operation: "name", path: path, errno: -result) }
            isNamed = true
        }
        guard rename(temporary, path) == 0 else {
            throw .system(operation: "rename to", path: path, errno: errno)
        }
        isNamed = false
        try FileDescriptor(folder(of: path), flags: O_RDONLY | O_DIRECTORY).synchronize()
    }
}

/// The folder that a path leads to a file in: `.` for a name alone.
package func folder(of path: String) -> String {
    let cut = path.utf8.lastIndex(of: UInt8(ascii: "/"))
    return cut.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
}
