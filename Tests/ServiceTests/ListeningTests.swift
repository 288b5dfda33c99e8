import Bytes
import Glibc
import TestSupport
import Testing
import Transport

@Suite struct ListeningTests {
    @Test func `a directory in the place of a Unix socket is told apart`() throws {
        let folder = try TemporaryFolder()
        #expect(throws: TransportError.isDirectory(path: folder.root)) {
            _ = try Socket.listening(on: Endpoint.unix(checking: folder.root))
        }
    }

    @Test func `a file in the place of a Unix socket is refused and kept, a stale socket is replaced`() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("s")
        var file = try AtomicFileWriter(path)
        try file.append(Array("precious".utf8))
        try file.commit()
        let endpoint = try Endpoint(parsing: "unix:\(path)")
        #expect(throws: TransportError.notASocket(endpoint.description)) { _ = try Socket.listening(on: endpoint) }
        let kept = try MappedFile(path)
        #expect(withExtendedLifetime(kept) { kept.bytes.elementsEqual(Array("precious".utf8)) })
        #expect(unlink(path) == 0)
        do { _ = try Socket.listening(on: endpoint) }
        // The socket is closed, its file is still there: stale.
        #expect(access(path, F_OK) == 0)
        _ = try Socket.listening(on: endpoint)
    }
}
