import Glibc

/// Writes a file so that its name always stands for a whole one: temporary name in the same folder, fsync,
/// rename, fsync of the folder. Without `commit()` nothing is left behind.
package struct AtomicFileWriter: ~Copyable {
    private let path: String
    private let temporary: String
    private let file: FileDescriptor
    private var isCommitted = false

    package init(_ path: String) throws(FileError) {
        self.path = path
        temporary = "\(path).partial.\(getpid())"
        file = try FileDescriptor(temporary, flags: O_WRONLY | O_CREAT | O_TRUNC)
    }

    deinit { if !isCommitted { unlink(temporary) } }

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
