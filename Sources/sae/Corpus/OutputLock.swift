import Bytes
import Foundation

/// The right to write an output and the files beside it, held until the process ends: OUTPUT.lock, by flock(2).
struct OutputLock: ~Copyable {
    private let file: FileDescriptor

    /// - Throws: `CorpusError.busy` where another process has it.
    init(of output: String) throws {
        let path = "\(output).lock"
        let file = try FileDescriptor(path, flags: O_RDWR | O_CREAT)
        guard flock(file.number, LOCK_EX | LOCK_NB) == 0 else {
            guard errno == EWOULDBLOCK else { throw FileError.system(operation: "lock", path: path, errno: errno) }
            throw CorpusError.busy(output: output)
        }
        // Who had it may have removed the file just now: then this is the lock of nothing.
        var held = stat(), named = stat()
        guard fstat(file.number, &held) == 0, stat(path, &named) == 0, held.st_ino == named.st_ino else {
            throw CorpusError.busy(output: output)
        }
        self.file = file
    }

    deinit { unlink(file.path) }
}
