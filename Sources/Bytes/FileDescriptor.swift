import CPosix
import Glibc

/// An open file that closes itself.
package struct FileDescriptor: ~Copyable {
    package let number: Int32
    private let path: String

    /// Opens `path` with `flags` (O_CLOEXEC is added); `mode` matters with O_CREAT.
    package init(_ path: String, flags: Int32, mode: UInt32 = 0o666) throws(FileError) {
        let result = sae_open(path, flags, mode)
        guard result >= 0 else {
            let operation = flags & (O_WRONLY | O_RDWR | O_CREAT) == 0 ? "open" : "write"
            throw .system(operation: operation, path: path, errno: -result)
        }
        self.number = result
        self.path = path
    }

    /// Takes over an open descriptor; `path` is what errors say.
    package init(adopting number: Int32, path: String) {
        self.number = number
        self.path = path
    }

    deinit { close(number) }

    /// Size of the file in bytes.
    package var size: Int {
        get throws(FileError) {
            var status = stat()
            guard fstat(number, &status) == 0 else { throw failure("read the size of") }
            return Int(status.st_size)
        }
    }

    /// Writes all bytes, however many calls that takes.
    package func write(_ bytes: UnsafeRawBufferPointer) throws(FileError) {
        var done = 0
        while done < bytes.count {
            let count = Glibc.write(number, bytes.baseAddress.map { $0 + done }, bytes.count - done)
            if count < 0 {
                if errno == EINTR { continue }
                throw failure("write")
            }
            done += count
        }
    }

    /// Reads up to `buffer.count` bytes; 0 at the end.
    package func read(into buffer: UnsafeMutableRawBufferPointer) throws(FileError) -> Int {
        while true {
            let count = Glibc.read(number, buffer.baseAddress, buffer.count)
            if count >= 0 { return count }
            if errno != EINTR { throw failure("read") }
        }
    }

    /// Waits until the data and the size are on the disk.
    package func synchronize() throws(FileError) {
        guard fsync(number) == 0 else { throw failure("synchronise") }
    }

    private func failure(_ operation: String) -> FileError {
        .system(operation: operation, path: path, errno: errno)
    }
}
