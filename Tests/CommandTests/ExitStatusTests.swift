import Foundation
import TestSupport
import Testing

@Suite struct ExitStatusTests {
    @Test func `a wrong flag is one line and exit code 64`() throws {
        for arguments in [
            ["embed", "--no-such-flag"], ["embed"], ["embed", "text", "--input", "-"], ["no-such-command"],
            ["embed", "a", "--format", "npy"], ["embed", "a", "--threads", "0"],
            ["embed", "a", "--dimensions", "0"],
            ["embed", "a", "--connect", "tcp://127.0.0.1:1", "--model", "m"],
            ["embed", "a", "--connect", "127.0.0.1:7733"], ["bench", "f", "--connect", "tcp://127.0.0.1"],
            ["serve", "--listen", "nowhere"], ["serve", "--bogus", "1"], ["serve", "--workers", "x"], ["serve", "--workers"],
        ] {
            let run = try Command(arguments)
            #expect(run.status == 64, "\(arguments)")
            #expect(run.output.isEmpty, "\(arguments)")
            #expect(run.errors.hasPrefix("sae: error: "), "\(arguments): \(run.errors)")
            #expect(run.errors.filter { $0 == "\n" }.count == 1, "\(arguments): \(run.errors)")
        }
    }

    @Test(arguments: ["bench --bogus", "fit --bogus=3 a", "eval sts --bogus", "embed --bogus"])
    func `an unknown flag is named, whatever else is missing`(_ arguments: String) throws {
        let run = try Command(arguments.split(separator: " ").map(String.init))
        #expect(run.status == 64)
        #expect(run.errors.contains("'--bogus'"), "\(run.errors)")
    }

    @Test(arguments: [
        ("embed a --format npy", "npy is written to a file"), ("embed --input f --threads 0", "--threads is 1 to 256"),
        ("embed a --connect unix:/s --temperature infinite", "no infinite temperature"),
        ("trace x --temperature infinite --exact", "--exact has no meaning there"),
        ("fit a b --output c --epochs 0", "epochs"), ("bench f --connect unix:/s --seconds 0", "--seconds is over 0"),
        ("rules import f --phrases p", "--library"), ("eval sts f --dimensions 64,64", "'64,64' holds a number twice"),
        ("embed a --token-file t", "--token-file has no meaning without --connect"),
        ("embed a --wait 3", "--wait has no meaning without --connect"), ("embed a --device 0", "give --scorer opencl or auto"),
        ("bench f --token-file t", "--token-file has no meaning without --connect"),
        ("corpus embed f --output o --tls-ca c", "--tls-ca has no meaning without --connect"),
        ("corpus embed f --output o --text-field b", "--text-field is for --input-format jsonl"),
        ("embed a --connect unix:/s --tls-ca c", "--tls-ca is for --connect tls://"), ("devices --device 0", "give --scorer opencl or auto"),
        ("embed a --connect tcp://127.0.0.1", "tcp://127.0.0.1 is not an endpoint"), ("token a/b", "a token's name is"),
        ("token a --roles king", "--roles is some of"),
        ("trace x --html - --json", "would both go to standard output"),
        ("help nosuch", "there is no command 'nosuch'"), ("help rules nosuch", "there is no command 'rules nosuch'"),
    ])
    func `wrong usage is told as what it is`(_ arguments: String, _ reason: String) throws {
        let run = try Command(arguments.split(separator: " ").map(String.init))
        #expect(run.status == 64)
        #expect(run.errors.contains(reason) && !run.errors.contains("Unknown option"), "\(run.errors)")
    }

    @Test(arguments: [
        (["trace", "x", "--html", ""], "--html needs the name of a file"), (["embed", "a", "--output", ""], "--output needs the name of a file"),
        (["fit", "a", "b", "--output", ""], "a file to write needs a name"), (["corpus", "embed", "a", "--output", ""], "--output needs the name of a file"),
    ])
    func `a file to write has a name`(_ arguments: [String], _ reason: String) throws {
        let run = try Command(arguments)
        #expect(run.status == 64)
        #expect(run.errors.contains(reason), "\(run.errors)")
    }

    @Test func `a token is shown to the daemon that the environment names`() throws {
        let run = try Command(["embed", "a", "--token-file", "/none/t"], environment: ["SAE_CLIENT_CONNECT": "unix:/none/s"])
        #expect(run.status == 66 && run.errors.contains("/none/t"), "\(run.errors)")
    }

    @Test func `help is of the command that is asked for, with all that it can do`() throws {
        let run = try Command(["help", "rules"])
        #expect(run.status == 0)
        #expect(run.output == (try Command(["rules", "--help"]).output))
        for name in ["promote", "mine", "optimum"] { #expect(run.output.contains("\n  \(name) "), "\(name)") }
    }

    @Test(arguments: [("", "300", "there is no text"), ("abcdefghijklmnopqrstuvwxyz\n", "260", "different characters than 260 pieces")])
    func `texts that give no vocabulary are told of in words of ours`(_ line: String, _ count: String, _ reason: String) throws {
        let folder = try TemporaryFolder()
        try String(repeating: line, count: 200).write(toFile: folder.path("t"), atomically: true, encoding: .utf8)
        let run = try Command(["fit", "vocabulary", folder.path("t"), "--vocabulary", count, "--output", folder.path("p")])
        #expect(run.status == 65 && run.errors.contains(reason) && !run.errors.contains(".cc("), "\(run.errors)")
    }

    @Test(arguments: ["eval sts F", "eval retrieval F", "embed --model M --input F"])
    func `a folder in place of a file is exit code 74`(_ arguments: String) throws {
        let folder = try TemporaryFolder()
        let model = try TinyModel.write(in: folder)
        let words = arguments.split(separator: " ").map { $0 == "F" ? folder.root : $0 == "M" ? model : String($0) }
        let run = try Command(words)
        #expect(run.status == 74, "\(run.errors)")
        #expect(run.errors.contains("\(folder.root)"), "\(run.errors)")
    }

    @Test(arguments: ["--version", "embed --help", "--generate-completion-script zsh", "devices", "embed --model M x", "trace --model M x"])
    func `output that cannot be written is exit code 74`(_ arguments: String) throws {
        let folder = try TemporaryFolder()
        let model = try TinyModel.write(in: folder)
        let run = try Command(shell: "$SAE \(arguments.replacingOccurrences(of: "M", with: model)) >/dev/full")
        #expect(run.status == 74, "\(run.errors)")
        #expect(run.errors.contains("cannot write standard output: No space left on device"), "\(run.errors)")
    }

    @Test func `a closed standard output is exit code 74, and a closed standard error takes no file's place`() throws {
        let folder = try TemporaryFolder()
        let model = try TinyModel.write(in: folder)
        #expect(try Command(shell: "$SAE embed --model \(model) x >&-").status == 74)
        let run = try Command(shell: "$SAE embed --model \(model) '' --skip-invalid --output \(folder.path("v.npy")) 2>&-")
        #expect(run.status == 0)
        let bytes = try Data(contentsOf: URL(fileURLWithPath: folder.path("v.npy")))
        #expect(bytes.count == 128 && bytes.starts(with: [0x93]))
    }

    @Test func `a reader that goes away is exit code 141 without a word`() throws {
        let folder = try TemporaryFolder()
        // The only reader has gone before the first byte is written.
        let run = try Command(
            shell: "mkfifo \(folder.root)/p; : <\(folder.root)/p & exec 4>\(folder.root)/p; wait; $SAE --version >&4; echo $? >&2")
        #expect(run.errors == "141\n")
    }

    @Test func `control characters of a file do not reach the terminal`() throws {
        let folder = try TemporaryFolder()
        try "\u{1b}[31mRED".write(toFile: folder.path("p.fs"), atomically: true, encoding: .utf8)
        let run = try Command(["forth", "check", folder.path("p.fs")])
        #expect(run.status == 65)
        #expect(run.errors.contains("found \\u{1b}[31mRED") && !run.errors.contains("\u{1b}"), "\(run.errors)")
    }

    @Test func `a missing model is exit code 66 and named`() throws {
        let run = try Command(["embed", "--model", "/no/such/model.sae", "text"])
        #expect(run.status == 66)
        #expect(run.errors.contains("/no/such/model.sae"))
    }

    @Test func `a foreign model is exit code 65`() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("foreign.sae")
        try String(repeating: "not a model ", count: 100).write(
            toFile: path, atomically: true, encoding: .utf8)
        let run = try Command(["embed", "--model", path, "text"])
        #expect(run.status == 65)
        #expect(run.errors.contains(path))
    }

    @Test func `a missing input is exit code 66`() throws {
        let folder = try TemporaryFolder()
        let model = try TinyModel.write(in: folder)
        let run = try Command(["embed", "--model", model, "--input", folder.path("none.txt")])
        #expect(run.status == 66)
    }

    @Test func `a daemon that is not there is exit code 69`() throws {
        let folder = try TemporaryFolder()
        let run = try Command(["embed", "--connect", "unix:\(folder.path("none.socket"))", "--wait", "0.2", "text"])
        #expect(run.status == 69)
    }

    @Test func `help shows examples and completions are generated`() throws {
        let help = try Command(["embed", "--help"])
        #expect(help.status == 0)
        #expect(help.output.contains("sae embed --input texts.txt --output vectors.npy"))
        for shell in ["bash", "zsh", "fish"] {
            let completions = try Command(["--generate-completion-script", shell])
            #expect(completions.status == 0)
            #expect(completions.output.contains("skip-invalid"))
        }
    }
}
