import CPosix
import Glibc

/// An open file that closes itself.
package struct FileDescriptor: ~Copyable {
    package let number: Int32
    /// What errors say.
    package let path: String

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

    /// Writes all bytes from `offset` on.
    package func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(FileError) {
        var done = 0
        while done < bytes.count {
            let count = pwrite(number, bytes.baseAddress.map { $0 + done }, bytes.count - done, off_t(offset + done))
            if count < 0 {
                if errno == EINTR { continue }
                throw failure("write")
            }
            done += count
        }
    }

    package func write(_ bytes: [UInt8], at offset: Int) throws(FileError) {
        let result = bytes.withUnsafeBytes { buffer in
            Result { () throws(FileError) in try write(buffer, at: offset) }
        }
        try result.get()
    }

    /// The bytes from `offset` on, `count` of them or as many as the file has.
    package func bytes(at offset: Int, count: Int) throws(FileError) -> [UInt8] {
        var failure: FileError?
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, done in
            while done < count {
                let read = pread(number, buffer.baseAddress.map { $0 + done }, count - done, off_t(offset + done))
                if read < 0 {
                    if errno == EINTR { continue }
                    failure = self.failure("read")
                }
                guard read > 0 else { break }
                done += read
            }
        }
        if let failure { throw failure }
        return bytes
    }

    /// Makes the file `size` bytes long.
    package func truncate(to size: Int) throws(FileError) {
        guard ftruncate(number, off_t(size)) == 0 else { throw failure("cut") }
    }

    /// Waits until the data, and the size as far as it is needed to read them, are on the disk.
    package func synchronizeData() throws(FileError) {
        guard fdatasync(number) == 0 else { throw failure("synchronise") }
    }

    /// Waits until the data and the size are on the disk.
    package func synchronize() throws(FileError) {
        guard fsync(number) == 0 else { throw failure("synchronise") }
    }

    private func failure(_ operation: String) -> FileError {
        .system(operation: operation, path: path, errno: errno)
    }
}
