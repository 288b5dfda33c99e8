import Bytes
import Glibc
import Testing

/// A folder that goes away with the test.
private final class Folder {
    let path: String

    init() {
        var template = Array("/tmp/sae-bytes-XXXXXX".utf8CString)
        path = mkdtemp(&template).map { String(cString: $0) } ?? "/tmp/sae-bytes-failed"
    }

    deinit {
        guard let folder = opendir(path) else { return }
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { unlink("\(path)/\(name)") }
        }
        closedir(folder)
        rmdir(path)
    }

    func write(_ name: String, _ bytes: [UInt8]) throws -> String {
        var file = try AtomicFileWriter("\(path)/\(name)")
        try file.append(bytes)
        try file.commit()
        return "\(path)/\(name)"
    }
}

/// What `numpy.save` writes for these: header text by hand, padded to 128 bytes in all.
private func npy(_ dictionary: String, _ values: [UInt8]) -> [UInt8] {
    let text = dictionary + String(repeating: " ", count: 128 - 10 - dictionary.utf8.count - 1) + "\n"
    return [0x93] + Array("NUMPY".utf8) + [1, 0, 118, 0] + Array(text.utf8) + values
}

@Suite struct NumpyTests {
    private let folder = Folder()

    @Test func `float16, float32 and int8 matrices of NumPy are read`() throws {
        // 1.5 is 3E00 and −2 is C000 in float16.
        let half = try folder.write(
            "half.npy",
            npy("{'descr': '<f2', 'fortran_order': False, 'shape': (1, 2), }", [0x00, 0x3E, 0x00, 0xC0]))
        #expect(try NumpyArray(half).row(0) == [1.5, -2])
        let single = try folder.write(
            "single.npy",
            npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", [0, 0, 0xC0, 0x3F, 0, 0, 0, 0xC0]))
        let column = try NumpyArray(single)
        #expect(column.rowCount == 2 && column.columnCount == 1)
        #expect(column.row(0) == [1.5] && column.row(1) == [-2])
        let bytes = try folder.write(
            "bytes.npy",
            npy("{'descr': '|i1', 'fortran_order': False, 'shape': (2, 3), }", [1, 2, 3, 0xFF, 0x80, 127]))
        #expect(try NumpyArray(bytes).row(1) == [-1, -128, 127])
    }

    @Test func `what is written is read back, and the header is aligned`() throws {
        let path = "\(folder.path)/out.npy"
        var writer = try NumpyWriter(path, rowCount: 3, columnCount: 2)
        try writer.append([0.1, -0.2])
        try writer.append([3, 4, 5, .leastNonzeroMagnitude])
        try writer.finish()
        let array = try NumpyArray(path)
        #expect(array.rowCount == 3 && array.columnCount == 2 && array.element == .float32)
        #expect((0..<3).map(array.row) == [[0.1, -0.2], [3, 4], [5, .leastNonzeroMagnitude]])
        #expect((array.fileBytes.count - 24) % 64 == 0)
    }

    @Test func `a writer that got too few rows leaves no file`() throws {
        let path = "\(folder.path)/short.npy"
        var writer = try NumpyWriter(path, rowCount: 2, columnCount: 1)
        try writer.append([1])
        #expect(throws: FileError.format(path: path, reason: "1 rows were written where 2 were promised")) {
            try writer.finish()
        }
        #expect(access(path, F_OK) != 0)
    }

    @Test(arguments: [
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", "float32, float16 or int8"),
        ("{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }", "float32, float16 or int8"),
        ("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 1), }", "C order"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", "8 bytes of values do not make 3 x 1"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 2), }", "shape"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }", "shape"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }", "do not make"),
        ("{'descr': '<f4', 'fortran_order': False}", "shape"),
    ])
    func `a foreign array is refused with its reason`(_ header: String, _ reason: String) throws {
        let path = try folder.write("bad.npy", npy(header, [0, 0, 0, 0, 0, 0, 0, 0]))
        let error = #expect(throws: FileError.self) { try NumpyArray(path) }
        #expect(error?.summary.contains(reason) == true, "\(error?.summary ?? "nothing")")
    }

    @Test func `every cut of an array is refused`() throws {
        let whole = npy("{'descr': '|i1', 'fortran_order': False, 'shape': (2, 3), }", [1, 2, 3, 4, 5, 6])
        for count in 0..<whole.count {
            let path = try folder.write("cut.npy", Array(whole[..<count]))
            #expect(throws: FileError.self, "\(count) bytes") { try NumpyArray(path) }
        }
    }
}

@Suite struct LineReaderTests {
    private let folder = Folder()

    /// `printf 'ab\n\nc' | gzip -n`
    private let gzip: [UInt8] = [
        0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0x4b, 0x4c, 0xe2, 0xe2, 0x4a, 0x06,
        0x00, 0xd6, 0xcb, 0x9c, 0xd0, 0x05, 0x00, 0x00, 0x00,
    ]

    @Test func `plain and gzip files give the same lines, the last without an end`() throws {
        let plain = try folder.write("lines.txt", Array("ab\n\nc".utf8))
        let packed = try folder.write("lines.gz", gzip)
        for path in [plain, packed] {
            let lines = try TextLines(contentsOf: path)
            #expect((0..<lines.count).map { Array(lines[$0]) } == [Array("ab".utf8), [], Array("c".utf8)])
        }
        let two = try TextLines(contentsOf: plain, maximumCount: 2)
        #expect(two.count == 2 && two.hasMore)
        #expect(try !TextLines(contentsOf: plain, maximumCount: 3).hasMore)
        #expect(try TextLines(contentsOf: folder.write("empty.txt", [])).count == 0)
        #expect(try TextLines(contentsOf: folder.write("end.txt", Array("a\n".utf8))).count == 1)
    }

    @Test func `lines that cross the buffer are whole`() throws {
        let lengths = [262_143, 1, 262_144, 0, 600_000]
        let text = lengths.map { String(repeating: "x", count: $0) }.joined(separator: "\n")
        let lines = try TextLines(contentsOf: folder.write("long.txt", Array(text.utf8)))
        #expect((0..<lines.count).map { lines.range($0).count } == lengths)
    }

    @Test func `cut-off or damaged gzip data are an error`() throws {
        let cut = try folder.write("cut.gz", Array(gzip.dropLast(9)))
        #expect(throws: FileError.format(path: cut, reason: "the gzip data end too early")) {
            try TextLines(contentsOf: cut)
        }
        var wrong = gzip
        wrong[18] ^= 1
        let damaged = try folder.write("damaged.gz", wrong)
        #expect(throws: FileError.self) { try TextLines(contentsOf: damaged) }
    }

    @Test func `a line over the limit is an error, one at the limit is not`() throws {
        let path = try folder.write("limit.txt", Array("1234\n12345\n".utf8))
        var reader = try LineReader(path, maximumLineBytes: 4)
        var line: [UInt8] = []
        #expect(try reader.appendNext(to: &line))
        var failure: FileError?
        do { _ = try reader.appendNext(to: &line) } catch { failure = error }
        #expect(failure == .format(path: path, reason: "line 2 is longer than 4 bytes"))
    }

    @Test func `a missing file says so`() {
        #expect(throws: FileError.system(operation: "open", path: "/nowhere/at/all", errno: ENOENT)) {
            try TextLines(contentsOf: "/nowhere/at/all")
        }
    }
}
