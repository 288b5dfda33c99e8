import Bytes
import Foundation
import SAEEngine
import TestSupport
import Testing
import Vectors

@Suite struct TeacherCommandTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func write(_ text: String, _ name: String) throws -> String {
        try text.write(toFile: folder.path(name), atomically: true, encoding: .utf8)
        return folder.path(name)
    }

    private func write(_ rows: [[Float]], _ name: String) throws -> String {
        var file = try NumpyWriter(folder.path(name), rowCount: rows.count, columnCount: rows[0].count)
        for row in rows { try file.append(row) }
        try file.finish()
        return folder.path(name)
    }

    /// int8 values behind a header of NumPy's.
    private func write(_ rows: [[Int8]], _ name: String) throws -> String {
        var header = "{'descr': '|i1', 'fortran_order': False, 'shape': (\(rows.count), \(rows[0].count)), }"
        header += String(repeating: " ", count: 117 - header.utf8.count) + "\n"
        let bytes: [UInt8] = [0x93] + Array("NUMPY".utf8) + [1, 0, 118, 0] + Array(header.utf8)
        try Data(bytes + rows.flatMap { $0.map { UInt8(bitPattern: $0) } }).write(to: URL(fileURLWithPath: folder.path(name)))
        return folder.path(name)
    }

    private func object(_ run: Command) throws -> [String: Any] {
        #expect(run.status == 0, "\(run.errors)")
        return try #require(try JSONSerialization.jsonObject(with: Data(run.output.utf8)) as? [String: Any])
    }

    private func random(_ rows: Int, _ columns: Int, seed: UInt64) -> [[Float]] {
        var random = CounterRandom(seed)
        return (0..<rows).map { _ in (0..<columns).map { _ in random.unitFloat() - 0.5 } }
    }

    @Test func `rows, dimensions and norms are those of the values times their scales`() throws {
        let vectors = try write([[3, 4, 0], [0, 0, 10], [0, 6, 8]] as [[Int8]], "v.npy")
        let scales = try write([[2], [0.5], [1]] as [[Float]], "s.npy")
        let info = try object(Command(["teacher", "info", vectors, "--scales", scales, "--json"]))
        #expect(info["rows"] as? Int == 3 && info["dimensions"] as? Int == 3 && info["values"] as? String == "int8")
        #expect(info["least_norm"] as? Double == 5 && info["greatest_norm"] as? Double == 10)
        #expect(abs((info["mean_norm"] as? Double ?? 0) - 25.0 / 3) < 1e-9 && info["unusable"] as? Int == 0)
        // The directions are (0.6, 0.8, 0), (0, 0, 1) and (0, 0.6, 0.8).
        let lean = (0.36 + 1.96 + 3.24).squareRoot() / 3
        #expect(abs((info["lean"] as? Double ?? 0) - lean) < 1e-6)
        #expect(try Command(["teacher", "info", vectors, "--scales", vectors]).status == 65)
    }

    @Test func `verify names the row of every fault, and the line that has no row`() throws {
        var rows = random(5, 4, seed: 1)
        rows[2] = [0, 0, 0, 0]
        rows[4][3] = .nan
        let vectors = try write(rows, "v.npy")
        let texts = try write("a\nb\nc\nd\n", "texts")
        let run = try Command(["teacher", "verify", vectors, texts])
        #expect(run.status == 65)
        #expect(
            run.output == """
                row 2: all values are zero
                row 4: the value of column 3 is not finite
                row 4 is the first of 1 without a text
                5 rows of 4, 4 lines, 3 faults

                """)
        #expect(run.errors.contains("v.npy: row 2: all values are zero, and 2 more faults"), "\(run.errors)")
        let scales = try write([[1], [1], [1], [-1], [1]] as [[Float]], "s.npy")
        let good = try write(random(5, 4, seed: 1), "good.npy")
        let scaled = try Command(["teacher", "verify", good, "--scales", scales])
        #expect(scaled.status == 65 && scaled.output.hasPrefix("row 3: its scale is -1.0\n"), "\(scaled.output)")
        let more = try write("a\nb\nc\nd\ne\nf\ng\n", "more")
        let longer = try Command(["teacher", "verify", good, more])
        #expect(longer.status == 65 && longer.output.hasPrefix("line 6 is the first of 2 texts without a row\n"))
        #expect(try Command(["teacher", "verify", good, more, "--prefix"]).status == 0)
    }

    @Test func `two teachers agree wholly when one is the other turned, and not at all when they are random`() throws {
        let rows = random(400, 16, seed: 2)
        let first = try write(rows, "a.npy")
        // Every dimension moved by one: similarities stay, cosines do not.
        let turned = try write(rows.map { Array($0.dropFirst() + $0.prefix(1)) }, "b.npy")
        let same = try object(Command(["teacher", "compare", first, turned, "--json", "--pairs", "5000"]))
        #expect((same["rank_correlation"] as? Double ?? 0) > 0.999 && (same["near_agreement"] as? Double ?? 0) > 0.999)
        #expect(abs(same["cosine"] as? Double ?? 1) < 0.2 && same["texts"] as? Int == 400)
        let other = try write(random(400, 24, seed: 3), "c.npy")
        let foreign = try object(Command(["teacher", "compare", first, other, "--json", "--pairs", "5000"]))
        #expect(abs(foreign["rank_correlation"] as? Double ?? 1) < 0.1 && foreign["cosine"] is NSNull)
        let itself = try object(Command(["teacher", "compare", first, first, "--json"]))
        #expect(abs((itself["cosine"] as? Double ?? 0) - 1) < 1e-6)
        let short = try Command(["teacher", "compare", first, try write(random(399, 16, seed: 2), "d.npy")])
        #expect(short.status == 65 && short.errors.contains("a.npy has 400 rows") && short.errors.contains("399"))
    }

    @Test func `a model agrees with the teacher that says what it says, but for texts without a vector`() throws {
        let model = try TinyModel.write(in: folder)
        let lines = GeneratedText.sentences(300, seed: 9) + [""]
        let texts = try write(lines.joined(separator: "\n") + "\n", "texts")
        let engine = try Engine(contentsOf: model)
        let vectors = engine.embed(TextBatch(lines), threads: 1)
        let rows = (0..<300).map { Array(vectors.vector($0)) } + [[Float](repeating: 1, count: 256)]
        let file = try write(rows, "v.npy")
        let result = try object(Command(["teacher", "compare", file, "--texts", texts, "--model", model, "--json"]))
        #expect(result["texts"] as? Int == 300 && abs((result["cosine"] as? Double ?? 0) - 1) < 1e-5, "\(result)")
        #expect((result["rank_correlation"] as? Double ?? 0) > 0.9999)
        for wrong in [["teacher", "compare", file], ["teacher", "compare", file, file, "--texts", texts]] {
            #expect(try Command(wrong).status == 64)
        }
        let fewer = try write("only one\n", "fewer")
        let run = try Command(["teacher", "compare", file, "--texts", fewer, "--model", model])
        #expect(run.status == 65 && run.errors.contains("301 rows"), "\(run.errors)")
    }
}
