import Bytes
import Foundation
import SAEEngine
import TestSupport
import Testing

@Suite struct CorpusCommandTests {
    let folder: TemporaryFolder
    let model: String
    let texts = GeneratedText.sentences(700, seed: 12)

    init() throws {
        folder = try TemporaryFolder()
        model = try TinyModel.write(in: folder)
        try (texts.joined(separator: "\n") + "\n").write(toFile: folder.path("texts"), atomically: true, encoding: .utf8)
    }

    private func bytes(_ name: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(fileURLWithPath: folder.path(name)))) }

    /// The numbers of the engine in this process.
    private func expected() throws -> [UInt8] {
        let engine = try Engine(contentsOf: model)
        return engine.embed(TextBatch(texts), threads: 1).vectors.withUnsafeBytes { Array($0) }
    }

    private func embed(_ arguments: String...) throws -> Command {
        try Command(
            ["corpus", "embed", folder.path("texts"), "--model", model, "--output", folder.path("v.npy")] + arguments)
    }

    @Test func `a file becomes an array file with the engine's bits, and nothing else stays`() throws {
        let run = try embed()
        #expect(run.status == 0, "\(run.errors)")
        let array = try bytes("v.npy")
        #expect(String(decoding: array[10..<128], as: UTF8.self).contains("'shape': (700, 256)"))
        #expect(Array(array[128...]) == (try expected()))
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.root)
        #expect(names.sorted() == ["texts", "tiny.sae", "v.npy"])
    }

    @Test func `a line without a vector is told beside the output`() throws {
        try "a cat\n\na dog\n".write(toFile: folder.path("texts"), atomically: true, encoding: .utf8)
        let run = try embed()
        #expect(run.status == 0 && run.errors.contains("1 of 3 lines have no vector"))
        #expect(
            String(decoding: try bytes("v.npy.errors.jsonl"), as: UTF8.self)
                == "{\"row\":1,\"error\":{\"code\":\"INVALID_ARGUMENT\",\"message\":\"the text is empty\"}}\n")
        let strict = try embed("--fail-on-error")
        #expect(strict.status == 65 && strict.errors.contains("texts, line 2: the text is empty"))
    }

    @Test func `a run that was killed goes on, and another one is refused`() throws {
        // Killed when its journal has a chunk.
        let script = """
            i=0; while [ $i -lt 60 ]; do cat $F/texts; i=$((i + 1)); done >$F/many
            $SAE corpus embed $F/many --model $M --output $F/whole.npy --threads 1 2>/dev/null || exit 1
            $SAE corpus embed $F/many --model $M --output $F/v.npy --threads 1 2>/dev/null &
            while [ ! -s $F/v.npy.journal ]; do kill -0 $! || exit 2; sleep 0.01; done
            kill -9 $!; wait $!
            [ ! -e $F/v.npy ] || exit 3
            $SAE corpus embed $F/many --model $M --output $F/v.npy --dimensions 8 2>$F/refused; [ $? = 65 ] || exit 4
            $SAE corpus embed $F/many --model $M --output $F/v.npy 2>$F/resumed || exit 5
            cmp $F/v.npy $F/whole.npy || exit 6
            """
        let run = try Command(shell: script, environment: ["F": folder.root, "M": model])
        #expect(run.status == 0, "\(run.errors)")
        #expect(String(decoding: try bytes("refused"), as: UTF8.self).contains("was begun with other options"))
        #expect(String(decoding: try bytes("resumed"), as: UTF8.self).contains("going on behind row 8192"))
    }

    @Test func `two runs do not write one output`() throws {
        let script = """
            flock $F/v.npy.lock sh -c "$SAE corpus embed $F/texts --model $M --output $F/v.npy 2>$F/refused; [ \\$? = 65 ]" || exit 1
            [ ! -e $F/v.npy ] && [ ! -e $F/v.npy.run ] && [ ! -e $F/v.npy.journal ] || exit 2
            $SAE corpus embed $F/texts --model $M --output $F/v.npy || exit 3
            [ -s $F/v.npy ] && [ ! -e $F/v.npy.lock ] || exit 4
            """
        let run = try Command(shell: script, environment: ["F": folder.root, "M": model])
        #expect(run.status == 0, "\(run.errors)")
        #expect(String(decoding: try bytes("refused"), as: UTF8.self).contains("another sae corpus embed writes \(folder.root)/v.npy"))
    }

    @Test func `a daemon that is killed in the midst of a corpus is gone on with, and the file is the same`() throws {
        // Texts of any bytes, without a piece, and too long; a daemon with little room.
        let script = """
            cat $F/texts >$F/part; printf 'a \\377 dog\\n\\n' >>$F/part; head -c 70000 /dev/zero | tr '\\0' x >>$F/part; echo >>$F/part
            i=0; while [ $i -lt 200 ]; do cat $F/part; i=$((i + 1)); done >$F/many
            $SAE corpus embed $F/many --model $M --encoding int8 --output $F/whole.npy 2>/dev/null || exit 1
            serve() {
                $SAE serve --model $M --unix $F/s --listen '' --http '' --drain-lame-duck-ms 0 --state-dir $F --jobs-min-free-bytes 0 \
                    --queue-max-texts 600 2>>$F/log & daemon=$!
            }
            serve
            $SAE corpus embed $F/many --connect unix:$F/s --wait 60 --encoding int8 --output $F/v.npy 2>$F/err & command=$!
            while [ ! -s $F/v.npy.journal ]; do kill -0 $command || exit 2; sleep 0.01; done
            kill -9 $daemon; wait $daemon 2>/dev/null
            serve
            wait $command || exit 3
            kill $daemon; wait $daemon
            for name in .npy .npy.scales.npy .npy.errors.jsonl; do cmp $F/v$name $F/whole$name || exit 4; done
            """
        let run = try Command(shell: script, environment: ["F": folder.root, "M": model])
        let told = String(decoding: try bytes("err"), as: UTF8.self)
        #expect(run.status == 0, "\(run.errors) \(told)")
        #expect(told.contains("lost the connection") && told.contains("400 of 140600 lines have no vector"), "\(told)")
    }

    @Test func `a job is submitted, watched, listed, fetched and deleted`() throws {
        let script = """
            $SAE serve --model $M --unix $F/s --listen '' --http '' --drain-lame-duck-ms 0 --state-dir $F --jobs-min-free-bytes 0 2>$F/log &
            export SAE_CLIENT_CONNECT=unix:$F/s
            $SAE corpus submit $F/texts --wait 30 --watch --key k >$F/id || exit 1
            id=$(cat $F/id)
            [ "$($SAE corpus submit $F/texts --key k 2>/dev/null)" = "$id" ] || exit 2
            echo other >$F/other
            $SAE corpus submit $F/other --key k --watch --output $F/wrong.npy 2>$F/another && exit 12
            [ ! -e $F/wrong.npy ] || exit 13
            $SAE corpus watch $id >$F/watched || exit 3
            $SAE corpus list >$F/listed || exit 4
            $SAE corpus fetch $id --output $F/v.npy || exit 5
            (umask 027 && $SAE corpus embed $F/texts --output $F/remote.npy) || exit 6
            [ "$(stat -c %a $F/remote.npy)" = 640 ] || exit 14
            [ "$(stat -c %a $F/jobs/*/vectors.npy)" = 600 ] || exit 15
            $SAE corpus delete nosuch $id 2>$F/deleted && exit 7
            $SAE corpus fetch $id --output $F/w.npy 2>$F/gone; [ $? = 65 ] || exit 8
            $SAE corpus submit $F/texts --key slow >$F/id || exit 9
            $SAE corpus cancel $(cat $F/id) || exit 10
            kill $!; wait $! || exit 11
            """
        let run = try Command(shell: script, environment: ["F": folder.root, "M": model])
        let log = String(decoding: try bytes("log"), as: UTF8.self)
        #expect(run.status == 0, "\(run.errors) \(log)")
        let id = String(decoding: try bytes("id"), as: UTF8.self)
        #expect(id.utf8.count == 27)
        #expect(String(decoding: try bytes("listed"), as: UTF8.self).contains("\tdone\t700 rows\t100 %\t"))
        #expect(String(decoding: try bytes("watched"), as: UTF8.self).contains("vectors.npy\t\(128 + 700 * 1_024)"))
        #expect(String(decoding: try bytes("another"), as: UTF8.self).contains("the job has another input"))
        #expect(String(decoding: try bytes("deleted"), as: UTF8.self).contains("nosuch: "))
        #expect(String(decoding: try bytes("gone"), as: UTF8.self).contains("there is no such job"))
        #expect(Array(try bytes("v.npy")[128...]) == (try expected()))
        #expect(try bytes("remote.npy") == bytes("v.npy"))
    }

    @Test func `an administrator makes a daemon drain and end`() throws {
        let script = """
            $SAE serve --model $M --unix $F/s --listen '' --http '' --drain-lame-duck-ms 0 --state-dir $F --jobs-min-free-bytes 0 2>$F/log &
            $SAE admin drain --connect unix:$F/s --wait 30 --grace 5 || exit 1
            wait $! || exit 2
            $SAE admin drain --connect unix:$F/s --wait 0.1 2>/dev/null; [ $? = 69 ] || exit 3
            $SAE admin drain --connect unix:$F/s --grace 0 2>/dev/null; [ $? = 64 ] || exit 4
            """
        let run = try Command(shell: script, environment: ["F": folder.root, "M": model])
        let log = String(decoding: try bytes("log"), as: UTF8.self)
        #expect(run.status == 0, "\(run.errors) \(log)")
        #expect(run.output.contains("draining: ") && run.output.hasSuffix(" 1 connections\n"), "\(run.output)")
    }

    @Test func `an output may have a name of one letter, and leaves nothing of a run before beside it`() throws {
        let script = """
            cd $F
            $SAE corpus embed texts --model $M --output z --encoding int8 2>/dev/null && [ -s z.scales.npy ] || exit 1
            $SAE corpus embed texts --model $M --output z 2>/dev/null && [ -s z ] && [ ! -e z.scales.npy ] || exit 2
            """
        let run = try Command(shell: script, environment: ["F": folder.root, "M": model])
        #expect(run.status == 0, "\(run.errors)")
    }

    @Test(arguments: [
        "corpus embed $F/texts --output $F/texts", "corpus embed $F/texts --output $F/link", "embed --input $F/texts --output $F/texts",
        "fit $F/texts $F/v.npy --output $F/texts", "fit vocabulary $F/texts --output $F/link",
    ])
    func `a file that is read is not written over`(_ command: String) throws {
        let script = "ln -s texts $F/link; cp $F/texts $F/copy; $SAE \(command); status=$?; cmp $F/texts $F/copy || exit 1; exit $status"
        let run = try Command(shell: script, environment: ["F": folder.root, "M": model])
        #expect(run.status == 64 && run.errors.contains("is a file to read, too"), "\(run.errors)")
    }

    @Test func `what is no plain file of texts is refused, and so is an output that is no file`() throws {
        let script = """
            mkfifo $F/pipe; gzip -c $F/texts >$F/texts.gz
            $SAE corpus embed $F/pipe --model $M --output $F/v.npy <>$F/pipe 2>$F/e1; [ $? = 65 ] || exit 1
            $SAE corpus embed $F/texts.gz --model $M --output $F/v.npy 2>$F/e2; [ $? = 65 ] || exit 2
            $SAE corpus embed $F/texts --model $M --output $F/pipe 2>$F/e3; [ $? = 64 ] || exit 3
            $SAE corpus submit "" --connect unix:$F/s 2>$F/e4; [ $? = 64 ] || exit 4
            """
        let run = try Command(shell: script, environment: ["F": folder.root, "M": model])
        #expect(run.status == 0, "\(run.errors)")
        for (name, reason) in [
            ("e1", "not a regular file"), ("e2", "decompress it first"), ("e3", "not a regular file"), ("e4", "is empty"),
        ] { #expect(String(decoding: try bytes(name), as: UTF8.self).contains(reason), "\(name)") }
    }

    @Test func `a command that needs a daemon says so`() throws {
        let run = try Command(["corpus", "list"])
        #expect(run.status == 64 && run.errors.contains("say where the daemon is"))
    }
}
