import Foundation
import TestSupport
import Testing

@Suite struct BenchCommandTests {
    @Test func `a measurement in process is a JSON object a thread count`() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("texts.txt")
        let texts = GeneratedText.sentences(300, seed: 3)
        try texts.joined(separator: "\n").write(toFile: path, atomically: true, encoding: .utf8)
        let run = try Command(["bench", path, "--model", try TinyModel.write(in: folder), "--threads", "1,2"])
        #expect(run.status == 0, "\(run.errors)")
        let rows = try run.output.split(separator: "\n").map {
            try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any] ?? [:]
        }
        #expect(rows.map { $0["threads"] as? Int } == [1, 2])
        for row in rows {
            #expect(row["texts"] as? Int == 300)
            let rate = row["texts_per_second"] as? Int ?? 0
            #expect(rate > 0)
            #expect(row["processor_us_per_text"] as? Double ?? 0 > 0)
            #expect((row["minimum"] as? Int ?? .max) <= rate && rate <= (row["maximum"] as? Int ?? 0))
        }
    }

    @Test func `a daemon is measured by a closed and by an open loop`() throws {
        let folder = try TemporaryFolder()
        try GeneratedText.sentences(100, seed: 3).joined(separator: "\n").write(
            toFile: folder.path("texts"), atomically: true, encoding: .utf8)
        let script = """
            $SAE serve --model \(try TinyModel.write(in: folder)) --unix $F/s --listen '' --http '' --drain-lame-duck-ms 0 2>$F/log &
            for loop in "--verify" "--rate 50,100"; do
                $SAE bench $F/texts --connect unix:$F/s --wait 30 --connections 2 --batch 4 --seconds 0.5 $loop || { result=1; cat $F/log >&2; }
            done
            kill $!; wait $!; exit $result
            """
        let run = try Command(shell: script, environment: ["F": folder.root])
        #expect(run.status == 0, "\(run.errors)")
        let rows = try run.output.split(separator: "\n").map {
            try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any] ?? [:]
        }
        try #require(rows.map { $0["loop"] as? String } == ["closed", "open", "open"])
        #expect(rows.map { $0["rate"] as? Int } == [nil, 50, 100])
        #expect(rows.map { $0["differing"] as? Int } == [0, nil, nil])
        let generations = rows[0]["generations"] as? [[String: Any]] ?? []
        #expect(generations.map { $0["requests"] as? Int } == [rows[0]["requests"] as? Int])
        #expect((generations.first?["vectors"] as? String ?? "incomplete") != "incomplete")
        let ended = rows.map { row in ["requests", "refused", "late", "failed", "unsent"].reduce(0) { $0 + (row[$1] as? Int ?? 0) } }
        #expect(ended[0] > 0 && ended[1...] == [25, 50])
        for row in rows {
            let latencies = ["p50_us", "p90_us", "p99_us", "p999_us", "maximum_us"].compactMap { row[$0] as? Int }
            #expect(latencies.count == 5 && latencies == latencies.sorted() && latencies[0] > 0, "\(row)")
        }
    }

    @Test func `texts without a vector are not counted`() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("texts.txt")
        try "a cat\n\n \na dog\n".write(toFile: path, atomically: true, encoding: .utf8)
        let model = try TinyModel.write(in: folder)
        let run = try Command(["bench", path, "--model", model])
        #expect(run.status == 0 && run.output.contains("\"texts\":2,"), "\(run.output)")
        #expect(run.errors == "sae: 2 of 4 texts have no vector and were left out\n")
        try " \n".write(toFile: path, atomically: true, encoding: .utf8)
        #expect(try Command(["bench", path, "--model", model]).status == 64)
    }

    @Test func `wrong counts and an empty file are refused`() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("empty.txt")
        try "".write(toFile: path, atomically: true, encoding: .utf8)
        for counts in ["0", "1,", "x", "-1"] {
            #expect(try Command(["bench", path, "--threads=\(counts)"]).status == 64, "\(counts)")
        }
        let run = try Command(["bench", path])
        #expect(run.status == 64)
        #expect(run.errors.contains("holds no texts"))
    }
}
