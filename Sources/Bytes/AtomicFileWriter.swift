import Glibc

/// Writes a file so that its name always stands for a whole one: temporary name in the same folder, fsync,
/// rename, fsync of the folder. Without `commit()` nothing is left behind. A symbolic link stays one: its target is
/// replaced. What is there and no regular file, such as a pipe or `/dev/null`, is written to as it is.
package struct AtomicFileWriter: ~Copyable {
    private let path: String
    /// Nil when the bytes go straight to `path`.
    private let temporary: String?
    private let file: FileDescriptor
    private var isCommitted = false

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
        do throws(FileError) {
            file = try FileDescriptor(temporary, flags: O_WRONLY | O_CREAT | O_TRUNC)
        } catch {
            guard case .system(let operation, _, let number) = error else { throw error }
            throw .system(operation: operation, path: path, errno: number)
        }
    }

    deinit { if !isCommitted, let temporary { unlink(temporary) } }

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
        guard let temporary else {
            isCommitted = true
            return
        }
        try file.synchronize()
        guard rename(temporary, path) == 0 else {
            throw .system(operation: "rename to", path: path, errno: errno)
        }
        isCommitted = true
        let cut = path.utf8.lastIndex(of: UInt8(ascii: "/"))
        let folder = cut.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        try FileDescriptor(folder, flags: O_RDONLY | O_DIRECTORY).synchronize()
    }
}
