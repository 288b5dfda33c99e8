import Bytes
import CPosix
import CSystemd  // its headers bring timespec
import Glibc
import Wire

/// The input of a job, where it is a file of the daemon's machine, below one of `jobs.input_roots`.
enum JobInput {
    /// What tells a file from another, and from itself when it was changed.
    struct Identity: Codable, Sendable, Equatable {
        var device: UInt64
        var inode: UInt64
        var bytes: Int
        /// Nanoseconds since 1970.
        var modified: Int64

        fileprivate init(_ file: borrowing FileDescriptor) throws(FileError) {
            var status = stat()
            guard fstat(file.number, &status) == 0 else {
                throw .system(operation: "read the size of", path: file.path, errno: errno)
            }
            device = UInt64(status.st_dev)
            inode = UInt64(status.st_ino)
            bytes = Int(status.st_size)
            modified = Int64(status.st_mtim.tv_sec) * 1_000_000_000 + Int64(status.st_mtim.tv_nsec)
        }
    }

    /// Opens the regular file of that path below the first of `roots` that has one.
    ///
    /// - Throws: `permissionDenied`, the same whatever the reason, so that nobody learns what there is.
    static func open(_ path: String, below roots: [String]) throws(Failure) -> FileDescriptor {
        for root in roots {
            let number = sae_open_beneath(root, path)
            if number >= 0 { return FileDescriptor(adopting: number, path: path) }
        }
        throw Failure(.permissionDenied, "the path is no regular file below one of the directories of jobs.input_roots: it is relative to one of them, without .. and links")
    }

    static func identity(of file: borrowing FileDescriptor) throws(Failure) -> Identity {
        do throws(FileError) { return try Identity(file) } catch { throw Failure(error, of: "the input cannot be read") }
    }

    static func check(lines: Int) throws(Failure) {
        guard lines <= JobRecord.maximumRows else {
            throw Failure(.invalidArgument, "the input has more than \(JobRecord.maximumRows) lines")
        }
    }

    /// SHA-256 of the first `count` bytes of a file, and its lines; nil when `isStopped` said so in their midst.
    static func measure(
        _ file: borrowing FileDescriptor, count: Int, isStopped: () -> Bool = { false }
    ) throws(FileError) -> (digest: [UInt8], lines: Int)? {
        let hash = SHA256()
        var (offset, lines, last) = (0, 0, UInt8(ascii: "\n"))
        while offset < count {
            if isStopped() { return nil }
            let part = try file.bytes(at: offset, count: min(1 << 20, count - offset))
            guard !part.isEmpty else { break }
            part.withUnsafeBytes { hash.update($0) }
            lines += part.count { $0 == UInt8(ascii: "\n") }
            last = part.last ?? last
            offset += part.count
        }
        return (hash.finalize(), lines + (last == UInt8(ascii: "\n") ? 0 : 1))
    }
}
