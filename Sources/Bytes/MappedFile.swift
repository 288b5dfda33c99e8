import Glibc

/// A file mapped for reading. The mapping lives as long as the object, and whoever keeps a pointer into it
/// keeps the object too.
///
/// Safe as `Sendable`: the mapping is private, and nothing here writes to it. Whoever replaces a file that may be mapped does so by
/// renaming (`AtomicFileWriter`): what is overwritten in place may change under the reader, and a file cut short ends it by SIGBUS.
package final class MappedFile: @unchecked Sendable {
    package let path: String
    /// All bytes of the file; empty for an empty file.
    package let bytes: UnsafeRawBufferPointer

    package init(_ path: String) throws(FileError) {
        let file = try FileDescriptor(path, flags: O_RDONLY)
        var status = stat()
        guard fstat(file.number, &status) == 0 else {
            throw .system(operation: "read the size of", path: path, errno: errno)
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw .format(path: path, reason: "not a regular file")
        }
        let size = Int(status.st_size)
        self.path = path
        guard size > 0 else {
            bytes = UnsafeRawBufferPointer(start: nil, count: 0)
            return
        }
        guard let base = mmap(nil, size, PROT_READ, MAP_PRIVATE, file.number, 0), base != MAP_FAILED else {
            throw .system(operation: "map", path: path, errno: errno)
        }
        bytes = UnsafeRawBufferPointer(start: base, count: size)
    }

    /// Bytes of this process in place of a file, page-aligned like one; `path` is what errors call them.
    package convenience init(copying contents: [UInt8], path: String) throws(FileError) {
        try self.init(joining: UnsafeRawBufferPointer(start: nil, count: 0), contents, path: path)
    }

    /// The same of two runs of bytes, one behind the other.
    package init(joining first: UnsafeRawBufferPointer, _ second: [UInt8], path: String) throws(FileError) {
        self.path = path
        let count = first.count + second.count
        guard count > 0 else {
            bytes = UnsafeRawBufferPointer(start: nil, count: 0)
            return
        }
        guard let base = mmap(nil, count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), base != MAP_FAILED
        else { throw .system(operation: "get memory for", path: path, errno: errno) }
        if let start = first.baseAddress { base.copyMemory(from: start, byteCount: first.count) }
        second.withUnsafeBytes { if let start = $0.baseAddress { (base + first.count).copyMemory(from: start, byteCount: $0.count) } }
        bytes = UnsafeRawBufferPointer(start: base, count: count)
    }

    deinit {
        if let base = bytes.baseAddress { munmap(UnsafeMutableRawPointer(mutating: base), bytes.count) }
    }
}
