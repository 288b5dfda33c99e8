import Bytes
import Corpora
import Foundation
import TestSupport
import Testing
import Vectors

struct JournalRecordTests {
    private let record = JournalRecord(
        chunk: 2, firstRow: 600, rowCount: 300, failedCount: 5, inputEnd: 70_000, rowsEnd: 921_728, errorsEnd: 410,
        rowsCRC: 0x1122_3344, errorsCRC: 0x5566_7788)

    @Test func `a record has the bytes that the specification draws`() {
        // Made by Python's struct, with a CRC-32C of its own.
        #expect(hexadecimal(record.bytes)
                == "5341454a020000000000000058020000000000002c01000005000000701101000000000080100e00000000009a01000000000000"
                + "443322118877665500000000000000000000000000000000edad57f7")
        #expect(JournalRecord(record.bytes[...]) == record)
    }

    @Test func `a record with any bit flipped is none`() {
        for bit in 0..<640 {
            var bytes = record.bytes
            bytes[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(JournalRecord(bytes[...]) == nil, "bit \(bit)")
        }
    }
}

/// A corpus on a disk of its own, without an engine: a row is made of its text's bytes.
private struct Corpus {
    let folder: TemporaryFolder
    let plan: CorpusPlan
    let input: [UInt8]
    var paths: CorpusPaths { CorpusPaths(folder: folder.root, plan) }

    init(_ encoding: VectorEncoding = .float32, _ output: CorpusPlan.Output = .npy) throws {
        folder = try TemporaryFolder()
        var plan = CorpusPlan(dimensions: 8)
        plan.chunkRows = 7
        plan.encoding = encoding
        plan.output = output
        self.plan = plan
        input = Array((0..<50).map { $0 % 9 == 4 ? "\n" : "text \($0)\n" }.joined().utf8)
        try Data(input).write(to: URL(fileURLWithPath: folder.path("input")))
    }

    func rows(_ chunk: CorpusChunk) -> CorpusRows {
        var floats: [Float] = []
        var failures: [Int: CorpusRowFailure] = [:]
        for (row, length) in chunk.lengths.enumerated() {
            let number = chunk.firstRow + row
            floats += (0..<8).map { length == 0 ? 0 : Float(number * 8 + $0) / 400 }
            if length == 0 { failures[row] = CorpusRowFailure(code: "INVALID_ARGUMENT", message: "the text has no piece") }
        }
        var bytes: [UInt8] = []
        floats.withUnsafeBufferPointer { plan.encoding.append($0, dimensions: 8, leading: 8, to: &bytes) }
        return plan.rows(bytes, firstRow: chunk.firstRow, count: chunk.rowCount, failures: failures, ids: [])
    }

    /// Commits up to `count` chunks behind what is there; what opening the files has taken back.
    @discardableResult
    func go(_ count: Int = .max, keeping: Int? = nil) throws -> CorpusOutput.Recovery {
        let output = try CorpusOutput(plan, at: paths, keeping: keeping)
        var reader = CorpusReader(
            try FileDescriptor(folder.path("input"), flags: O_RDONLY), size: input.count, plan: plan, after: output.last)
        var done = 0
        while done < count, let chunk = try reader.next() {
            try output.commit(chunk, rows(chunk))
            done += 1
        }
        return output.recovery
    }

    /// The names and contents of the finished files.
    func finished() throws -> [String: [UInt8]] {
        let finish = CorpusFinish(plan, at: paths, rowCount: 50)
        let files = try finish.seal()
        try finish.publish()
        // Each step may be repeated.
        #expect(try finish.seal() == files)
        try finish.publish()
        return try Dictionary(uniqueKeysWithValues: files.map { file in
            let bytes = try read(file.name)
            #expect(bytes.count == file.bytes && hexadecimal(bytes.withUnsafeBytes { SHA256.digest(of: $0) }) == file.sha256)
            return (file.name, bytes)
        })
    }

    func read(_ name: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(fileURLWithPath: folder.path(name)))) }
    func write(_ bytes: [UInt8], _ name: String) throws { try Data(bytes).write(to: URL(fileURLWithPath: folder.path(name))) }
}

struct CorpusOutputTests {
    private func undisturbed(_ encoding: VectorEncoding = .float32, _ output: CorpusPlan.Output = .npy) throws -> [String: [UInt8]] {
        let corpus = try Corpus(encoding, output)
        try corpus.go()
        return try corpus.finished()
    }

    @Test func `what is stopped on its way through the files leaves them as they are`() throws {
        let expected = try undisturbed()
        let corpus = try Corpus(.float32, .npy)
        try corpus.go()
        let names = [corpus.paths.rows.partial, corpus.paths.errors.partial, corpus.paths.journal].map { String($0.split(separator: "/").last ?? "") }
        let before = try names.map(corpus.read)
        let isStopped = { (error: any Error) in
            if case .system(_, _, ECANCELED)? = error as? FileError { true } else { false }
        }
        #expect { _ = try CorpusOutput(corpus.plan, at: corpus.paths) { true } } throws: { isStopped($0) }
        #expect(try names.map(corpus.read) == before)
        #expect { _ = try CorpusFinish(corpus.plan, at: corpus.paths, rowCount: 50).seal { true } } throws: { isStopped($0) }
        #expect(try corpus.go().isEmpty && corpus.finished() == expected)
    }

    @Test func `array files have NumPy's header and each row in its place`() throws {
        let files = try undisturbed(.int8)
        #expect(files.keys.sorted() == ["errors.jsonl", "scales.npy", "vectors.npy"])
        let vectors = try #require(files["vectors.npy"]), scales = try #require(files["scales.npy"])
        #expect(vectors.count == 128 + 50 * 8 && scales.count == 128 + 50 * 4)
        #expect(String(decoding: vectors[10..<128], as: UTF8.self).hasPrefix("{'descr': '|i1', 'fortran_order': False, 'shape': (50, 8), }"))
        #expect(String(decoding: scales[10..<128], as: UTF8.self).hasPrefix("{'descr': '<f4', 'fortran_order': False, 'shape': (50,), }"))
        // Row 13 has no text, the last element of row 14 is its largest.
        #expect(vectors[128 + 13 * 8..<128 + 14 * 8].allSatisfy { $0 == 0 } && vectors[128 + 14 * 8 + 7] == 127)
        let scale = scales[128 + 14 * 4..<128 + 15 * 4].withUnsafeBytes { $0.loadUnaligned(as: Float.self) }
        #expect(abs(scale * 127 - Float(14 * 8 + 7) / 400) < 1e-6)
    }

    @Test func `JSON lines tell the number of each row, and errors stand in both files`() throws {
        let files = try undisturbed(.float32, .jsonl)
        let lines = String(decoding: try #require(files["rows.jsonl"]), as: UTF8.self).split(separator: "\n")
        #expect(lines.count == 50)
        #expect(lines[1] == "{\"row\":1,\"embedding\":[0.02,0.0225,0.025,0.0275,0.03,0.0325,0.035,0.0375]}")
        let error = "{\"row\":4,\"error\":{\"code\":\"INVALID_ARGUMENT\",\"message\":\"the text has no piece\"}}"
        #expect(lines[4] == error)
        #expect(String(decoding: try #require(files["errors.jsonl"]), as: UTF8.self).hasPrefix(error + "\n"))
    }

    @Test(arguments: [VectorEncoding.float32, .float16, .int8, .binary])
    func `a corpus that was stopped behind any chunk comes out the same`(encoding: VectorEncoding) throws {
        let expected = try undisturbed(encoding)
        for stop in 0...8 {
            let corpus = try Corpus(encoding)
            try corpus.go(stop)
            #expect(try corpus.go().isEmpty)
            #expect(try corpus.finished() == expected, "after \(stop) chunks")
        }
    }

    @Test func `a record that is not whole is cut off, with what it stands for`() throws {
        let expected = try undisturbed(.int8)
        for cut in 1...80 {
            let corpus = try Corpus(.int8)
            try corpus.go(4)
            try corpus.write(try corpus.read("journal").dropLast(cut), "journal")
            let recovery = try corpus.go()
            #expect(recovery.rowBytes == 7 * 8 && recovery.journalBytes == 80 - cut)
            #expect(try corpus.finished() == expected, "\(cut) bytes cut")
        }
    }

    @Test(arguments: ["rows.partial", "errors.partial", "scales.partial", "journal"])
    func `from a byte that changed on, all is computed again`(file: String) throws {
        let expected = try undisturbed(.int8)
        let size = try { let corpus = try Corpus(.int8); try corpus.go(5); return try corpus.read(file).count }()
        let header = file == "rows.partial" || file == "scales.partial" ? 128 : 0
        for place in stride(from: header, to: size, by: 13) {
            let corpus = try Corpus(.int8)
            try corpus.go(5)
            var bytes = try corpus.read(file)
            bytes[place] ^= 4
            try corpus.write(bytes, file)
            #expect(try corpus.go().records > 0)
            #expect(try corpus.finished() == expected, "byte \(place)")
        }
    }

    @Test func `what was written and not committed is cut off`() throws {
        let corpus = try Corpus(.float16)
        try corpus.go(3)
        for file in ["rows.partial", "errors.partial", "journal"] {
            try corpus.write(try corpus.read(file) + [UInt8](repeating: 7, count: 333), file)
        }
        let recovery = try corpus.go()
        #expect(recovery.rowBytes == 333 && recovery.errorBytes == 333)
        #expect(try corpus.finished() == (try undisturbed(.float16)))
    }

    @Test func `chunks that are not known to be on the disk are cut off after a failure`() throws {
        let corpus = try Corpus()
        try corpus.go(5)
        #expect(try corpus.go(0, keeping: 3).records == 2)
        try corpus.go()
        #expect(try corpus.finished() == (try undisturbed()))
    }

    @Test func `a file that is shorter than the journal says is computed again from there`() throws {
        let corpus = try Corpus()
        try corpus.go(5)
        try corpus.write(Array(try corpus.read("rows.partial").prefix(128 + 20 * 32 + 5)), "rows.partial")
        #expect(try corpus.go().records == 3)
        #expect(try corpus.finished() == (try undisturbed()))
    }
}
