import Bytes
import Foundation
import Glibc
import TestSupport
import Testing

@Suite struct AtomicFileWriterTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func write(_ text: String, to path: String, commits: Bool = true) throws {
        var writer = try AtomicFileWriter(path)
        try writer.append(Array(text.utf8))
        if commits { try writer.commit() }
    }

    private func contents(_ path: String) throws -> String {
        let file = try MappedFile(path)
        return withExtendedLifetime(file) { String(decoding: file.bytes, as: UTF8.self) }
    }

    @Test func `a file changes whole or not at all`() throws {
        let path = folder.path("f")
        try write("one", to: path)
        try write("two", to: path, commits: false)
        #expect(try contents(path) == "one")
        try write("three", to: path)
        #expect(try contents(path) == "three")
        #expect(access("\(path).partial.\(getpid())", F_OK) != 0)
    }

    @Test func `until it is whole a file has no name, so that a killed process leaves nothing`() throws {
        let path = folder.path("f")
        var writer = try AtomicFileWriter(path)
        try writer.append(Array("half".utf8))
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.root).isEmpty)
        // What an earlier process of this number left is in nobody's way.
        try Data("old".utf8).write(to: URL(fileURLWithPath: "\(path).partial.\(getpid())"))
        try writer.commit()
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.root) == ["f"])
        #expect(try contents(path) == "half")
    }

    @Test func `a symbolic link stays one, and its target is replaced`() throws {
        let (target, link) = (folder.path("target"), folder.path("link"))
        try write("old", to: target)
        #expect(symlink(target, link) == 0)
        try write("new", to: link)
        var status = stat()
        #expect(lstat(link, &status) == 0 && status.st_mode & S_IFMT == S_IFLNK)
        #expect(try contents(target) == "new")
    }

    @Test func `a pipe is written to, not replaced`() throws {
        let path = folder.path("pipe")
        #expect(mkfifo(path, 0o600) == 0)
        let reader = open(path, O_RDONLY | O_NONBLOCK)
        defer { close(reader) }
        try write("through", to: path)
        var buffer = [UInt8](repeating: 0, count: 16)
        #expect(read(reader, &buffer, 16) == 7)
        #expect(String(decoding: buffer.prefix(7), as: UTF8.self) == "through")
        var status = stat()
        #expect(lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFIFO)
    }

    @Test func `what cannot be written is said by its own name`() {
        let path = folder.path("missing/f")
        #expect(throws: FileError.system(operation: "write", path: path, errno: ENOENT)) { try write("x", to: path) }
    }
}
