import Bytes
import Foundation
import SAEEngine
import TestSupport
import Testing

@Suite struct EmbedCommandTests {
    let folder: TemporaryFolder
    let model: String

    init() throws {
        folder = try TemporaryFolder()
        model = try TinyModel.write(in: folder)
    }

    /// The vectors that the engine gives in this process.
    private func expected(_ texts: [String]) throws -> [Float] {
        let engine = try Engine(contentsOf: model)
        var workspace = engine.makeWorkspace()
        var batch = EmbeddingBatch(dimensions: engine.dimensions)
        engine.embed(TextBatch(texts), using: &workspace, into: &batch)
        return batch.vectors
    }

    private func numbers(_ text: String) -> [Float] {
        text.split { $0 == " " || $0 == "\n" }.compactMap { Float($0) }
    }

    @Test func `texts become a line of numbers each, the engine's to the bit`() throws {
        let texts = ["A cat sat on the mat.", "The dog ran."]
        let run = try Command(["embed", "--model", model] + texts)
        #expect(run.status == 0 && run.errors.isEmpty)
        #expect(run.output.split(separator: "\n").count == 2)
        #expect(numbers(run.output) == (try expected(texts)))
    }

    @Test func `standard input becomes an npy file`() throws {
        let path = folder.path("v.npy")
        let run = try Command(
            ["embed", "--model", model, "--input", "-", "--output", path],
            input: Array("one cat\r\ntwo dogs\n".utf8))
        #expect(run.status == 0 && run.errors.isEmpty && run.output.isEmpty)
        let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        #expect(bytes.starts(with: [0x93] + Array("NUMPY\u{1}\u{0}".utf8)))
        let header = String(decoding: bytes[10..<128], as: UTF8.self)
        #expect(header.contains("'descr': '<f4'") && header.contains("(2, 256)"))
        let values = bytes.suffix(2 * 256 * 4).withUnsafeBytes { raw in
            (0..<512).map { Float(bitPattern: raw.loadUnaligned(fromByteOffset: $0 * 4, as: UInt32.self)) }
        }
        #expect(values == (try expected(["one cat", "two dogs"])))
    }

    @Test func `an empty line is an error with its number, and is left out on request`() throws {
        let path = folder.path("texts.txt")
        try "one cat\n \ntwo dogs\n".write(toFile: path, atomically: true, encoding: .utf8)
        let refused = try Command(["embed", "--model", model, "--input", path])
        #expect(refused.status == 65)
        #expect(
            refused.errors == "sae: error: \(path), line 2: the text is empty; "
                + "correct it, or leave such texts out with --skip-invalid\n")
        let skipped = try Command(["embed", "--model", model, "--input", path, "--skip-invalid"])
        #expect(skipped.status == 0)
        #expect(skipped.errors == "sae: 1 of 3 texts have no vector and were left out: line 2\n")
        #expect(numbers(skipped.output) == (try expected(["one cat", "two dogs"])))
    }

    @Test func `a line of any length is left out on request, like any other`() throws {
        let path = folder.path("long.txt")
        let long = String(repeating: "cat ", count: 6 << 20)
        try "one cat\n\(long)\ntwo dogs\n".write(toFile: path, atomically: true, encoding: .utf8)
        let refused = try Command(["embed", "--model", model, "--input", path])
        #expect(refused.status == 65 && refused.errors.contains("line 2: the text is longer than 65536 bytes"), "\(refused.errors)")
        let skipped = try Command(["embed", "--model", model, "--input", path, "--skip-invalid"])
        #expect(skipped.status == 0 && skipped.errors.contains("left out: line 2\n"), "\(skipped.errors)")
        #expect(numbers(skipped.output) == (try expected(["one cat", "two dogs"])))
    }

    @Test(arguments: [#"$SAE embed --connect unix:$F/s"#, #"SAE_CLIENT_CONNECT=unix:$F/s $SAE embed"#])
    func `a daemon that was just started is waited for, and gives the same vectors`(_ command: String) throws {
        let script = """
            $SAE serve --model \(model) --unix $F/s --listen '' --http '' --drain-lame-duck-ms 0 2>$F/log & daemon=$!
            \(command) --wait 30 "A cat sat on the mat." "The dog ran."; result=$?
            kill $daemon; wait $daemon; exit $result
            """
        let run = try Command(shell: script, environment: ["F": folder.root])
        #expect(run.status == 0, "\(run.errors)")
        #expect(numbers(run.output) == (try expected(["A cat sat on the mat.", "The dog ran."])))
    }

    @Test func `a text without a vector is told of in the same words here and by a daemon`() throws {
        let long = String(repeating: "x", count: 65_536)
        let texts = ["", " ", long + "x", String(repeating: "a ", count: 20_000), long + "\r" + long]
        for (index, text) in texts.enumerated() {
            try "one cat\n\(text)\n".write(toFile: folder.path("\(index)"), atomically: true, encoding: .utf8)
        }
        let script = """
            $SAE serve --model \(model) --unix $F/s --listen '' --http '' --drain-lame-duck-ms 0 --limits-max-text-bytes 200000 2>$F/log &
            daemon=$!
            for i in 0 1 2 3 4; do
                $SAE embed --connect unix:$F/s --wait 30 --input $F/$i 2>$F/there >&2; echo $?
                $SAE embed --model \(model) --input $F/$i 2>$F/here >&2; echo $?
                diff $F/here $F/there && cat $F/here
            done
            kill $daemon; wait $daemon
            """
        let run = try Command(shell: script, environment: ["F": folder.root])
        // Of a file no more is read of a line, whatever the daemon takes.
        let tooLong = "is longer than 65536 bytes"
        let reasons = ["is empty", "is empty", tooLong, "has more than 16384 pieces", tooLong]
        let told = reasons.enumerated().map { index, reason in
            "65\n65\nsae: error: \(folder.path("\(index)")), line 2: the text \(reason); "
                + "correct it, or leave such texts out with --skip-invalid\n"
        }
        #expect(run.status == 0 && run.output == told.joined(), "\(run.output)\(run.errors)")
    }

    @Test(arguments: ["--sweeps 2", "--scorer reference", "--model $F/tiny.sae", "--threads 1"])
    func `a flag of this process computes here, whatever daemon the environment names`(_ flag: String) throws {
        let run = try Command(
            shell: "SAE_CLIENT_CONNECT=unix:$F/none $SAE embed \(flag) 'one cat'",
            environment: ["F": folder.root])
        #expect(!run.errors.contains("cannot connect"), "\(run.errors)")
        #expect(run.status == 0, "\(run.errors)")
    }

    @Test func `an argument that is not UTF-8 is refused, and its bytes embed from standard input`() throws {
        for script in [#"$SAE embed "$(printf 'a\377')""#, #"$SAE embed --input "/no/$(printf '\376')""#] {
            let run = try Command(shell: script)
            #expect(run.status == 64 && run.output.isEmpty, "\(script)")
            #expect(run.errors.contains("is not UTF-8"), "\(run.errors)")
        }
        let run = try Command(["embed", "--model", model, "--input", "-"], input: [0x61, 0xff, 10])
        #expect(run.status == 0 && numbers(run.output).count == TinyModel.dimensions)
    }

    @Test(arguments: [[], ["--dimensions", "64"]])
    func `no text at all is an array of no rows and the model's width`(_ options: [String]) throws {
        let path = folder.path("v.npy")
        let run = try Command(["embed", "--model", model, "--input", "-", "--output", path] + options)
        #expect(run.status == 0, "\(run.errors)")
        let array = try NumpyArray(path)
        #expect(array.rowCount == 0 && array.columnCount == (options.isEmpty ? TinyModel.dimensions : 64))
    }

    @Test func `a refused run leaves no output file`() throws {
        let path = folder.path("v.jsonl")
        let run = try Command(["embed", "--model", model, "--output", path, "--format", "jsonl", "a", ""])
        #expect(run.status == 65)
        let left = try FileManager.default.contentsOfDirectory(atPath: folder.root)
        #expect(left == ["tiny.sae"])
    }

    @Test func `json lines hold number, text and unit vector`() throws {
        let text = "tab\t, quote \" and \\ Ünïcödé"
        let run = try Command(["embed", "--model", model, "--format", "jsonl", "--dimensions", "64", text])
        #expect(run.status == 0)
        let object = try JSONSerialization.jsonObject(with: Data(run.output.utf8)) as? [String: Any]
        #expect(object?["text"] as? String == text)
        #expect(object?["line"] as? Int == 1)
        let vector = object?["embedding"] as? [Double] ?? []
        #expect(vector.count == 64)
        #expect(abs(vector.reduce(0) { $0 + $1 * $1 } - 1) < 1e-5)
    }

    @Test(arguments: ["reference", "blas", "opencl"])
    func `another scorer gives nearly the same vectors`(scorer: String) throws {
        let texts = ["A cat sat on the mat.", "The dog ran."]
        let run = try Command(
            ["embed", "--model", model, "--scorer", scorer] + texts, environment: ["POCL_CACHE_DIR": folder.path("cache")])
        #expect(run.status == 0 && run.errors.isEmpty, "\(run.errors)")
        let (found, exact) = (numbers(run.output), try expected(texts))
        #expect(found.count == exact.count && found != exact)
        #expect(zip(found, exact).allSatisfy { abs($0 - $1) < 0.01 })
    }

    @Test func `without the scorer that was asked for the CPU's stands in, and a note says why`() throws {
        let run = try Command(
            ["embed", "--model", model, "--scorer", "opencl", "one cat"],
            environment: ["OCL_ICD_VENDORS": "\(folder.root)/none/"])
        #expect(run.status == 0)
        #expect(numbers(run.output) == (try expected(["one cat"])))
        #expect(run.errors.contains("no OpenCL driver is installed; ") && run.errors.contains("the CPU scores instead, with cpu-3"))
    }

    @Test(arguments: ["1", "2", "7"]) func `threads change nothing`(threads: String) throws {
        let path = folder.path("many.txt")
        let texts = GeneratedText.sentences(1_500, seed: 9)
        try texts.joined(separator: "\n").write(toFile: path, atomically: true, encoding: .utf8)
        let run = try Command(["embed", "--model", model, "--input", path, "--threads", threads])
        #expect(run.status == 0)
        #expect(numbers(run.output) == (try expected(texts)))
    }
}
