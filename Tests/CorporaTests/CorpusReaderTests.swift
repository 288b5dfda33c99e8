import Bytes
import Corpora
import Foundation
import TestSupport
import Testing

struct CorpusReaderTests {
    /// All texts of an input, chunk by chunk.
    private func texts(_ input: [UInt8], _ plan: CorpusPlan, after last: JournalRecord? = nil) throws -> [[String]] {
        let folder = try TemporaryFolder()
        try Data(input).write(to: URL(fileURLWithPath: folder.path("input")))
        var reader = CorpusReader(try FileDescriptor(folder.path("input"), flags: O_RDONLY), size: input.count, plan: plan, after: last)
        var chunks: [[String]] = []
        while let chunk = try reader.next() {
            #expect(chunk.index == chunks.count + (last.map { $0.chunk + 1 } ?? 0))
            var start = 0
            chunks.append(
                chunk.lengths.map { length in
                    defer { start += Int(length) }
                    return String(decoding: chunk.texts[start..<start + Int(length)], as: UTF8.self)
                })
        }
        return chunks
    }

    @Test(arguments: [
        ("", []), ("a", ["a"]), ("a\n", ["a"]), ("a\nb", ["a", "b"]), ("\n", [""]), ("\n\n", ["", ""]), ("a\r\nb\r", ["a", "b"]),
        ("a\r\r\n", ["a\r"]), ("a\rb\n\nc\n", ["a\rb", "", "c"]), ("a\u{0}\u{2028}b\n", ["a\u{0}\u{2028}b"]),
    ] as [(String, [String])])
    func `lines end with a line feed, which the last one may lack`(input: String, expected: [String]) throws {
        #expect(try texts(Array(input.utf8), CorpusPlan(dimensions: 8)).flatMap { $0 } == expected)
    }

    @Test func `chunks end after so many rows, and a reader goes on behind any of them`() throws {
        var plan = CorpusPlan(dimensions: 8)
        plan.chunkRows = 3
        let input = Array((0..<10).map { "line \($0)\n" }.joined().utf8)
        let all = try texts(input, plan)
        #expect(all.map(\.count) == [3, 3, 3, 1])
        let second = JournalRecord(
            chunk: 1, firstRow: 3, rowCount: 3, failedCount: 0, inputEnd: 42, rowsEnd: 0, errorsEnd: 0, rowsCRC: 0, errorsCRC: 0)
        #expect(try texts(input, plan, after: second) == Array(all[2...]))
    }

    @Test func `chunks end before 8 MiB of input, and a line of more stands alone and is not held whole`() throws {
        var plan = CorpusPlan(dimensions: 8)
        plan.maximumTextBytes = 100
        let mebibyte = String(repeating: "x", count: (1 << 20) - 1) + "\n"
        let huge = String(repeating: "y", count: 9 << 20) + "\n"
        let input = Array((String(repeating: mebibyte, count: 10) + huge + mebibyte).utf8)
        let all = try texts(input, plan)
        #expect(all.map(\.count) == [8, 2, 1, 1])
        // A text over the limit says so with the bytes that tell where it may be cut.
        #expect(all.flatMap { $0 }.allSatisfy { $0.utf8.count == 104 })
    }
}
