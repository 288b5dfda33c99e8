import Daemon
import Diagnostics
import Foundation
import TestSupport
import Testing

struct ConfigurationTests {
    private func load(
        file: String? = nil, environment: [String: String] = [:], flags: [String] = []
    ) throws -> LoadedConfiguration {
        let folder = try TemporaryFolder()
        let path = folder.path("sae.toml")
        try (file ?? "").write(toFile: path, atomically: true, encoding: .utf8)
        return try LoadedConfiguration(arguments: flags + ["--config", path], environment: environment)
    }

    @Test func `flags beat the environment, which beats the file, which beats the default`() throws {
        let file = "[batch]\nmax_texts = 10\nmax_pieces = 11\n[workers]\ncount = 12\n"
        let environment = ["SAE_BATCH_MAX_PIECES": "20", "SAE_WORKERS_COUNT": "21", "PATH": "/bin"]
        let loaded = try load(file: file, environment: environment, flags: ["--workers=30"])
        #expect(loaded.configuration.batchMaximumTexts == 10)
        #expect(loaded.configuration.batchMaximumPieces == 20)
        #expect(loaded.configuration.workerCount == 30)
        #expect(loaded.configuration.queueMaximumTexts == Configuration().queueMaximumTexts)
        #expect(loaded.listing.contains("workers.count = 30  # flag\n"))
        #expect(loaded.listing.contains("batch.max_pieces = 20  # environment\n"))
        #expect(loaded.listing.contains("queue.max_texts = 65536  # default\n"))
    }

    @Test func `an unknown name is refused with the nearest known one`() throws {
        for (file, environment, flags, nearest) in [
            ("[batch]\nmax_text = 1", [:], [], "batch.max_texts"),
            ("", ["SAE_LOG_LEVL": "info"], [], "SAE_LOG_LEVEL"),
            ("", [:], ["--worker", "2"], "--workers"), ("", [:], ["--prot", "2"], nil),
        ] as [(String, [String: String], [String], String?)] {
            do {
                _ = try load(file: file, environment: environment, flags: flags)
                Issue.record("accepted")
            } catch let error as ConfigurationError {
                guard case .unknown(_, _, nearest) = error else {
                    Issue.record("\(error)")
                    continue
                }
            }
        }
    }

    @Test(arguments: [
        "[batch]\nmax_texts = 0", "[batch]\nmax_texts = \"ten\"", "[log]\nlevel = \"loud\"",
        "[listen]\nunix_mode = \"0999\"", "[queue]\nmax_wait_ms = -1", "[queue]\nmax_wait_ms = 1.5",
    ])
    func `a value of the wrong type or out of range is refused with its key`(file: String) throws {
        do {
            _ = try load(file: file)
            Issue.record("accepted")
        } catch let error as ConfigurationError {
            guard case .badValue(let key, _, _, _) = error else { throw error }
            #expect(file.contains(key.split(separator: ".")[1]))
        }
    }

    @Test func `a syntax error names its line`() throws {
        do {
            _ = try load(file: "[batch]\nmax_texts = \n")
            Issue.record("accepted")
        } catch let error as ConfigurationError {
            guard case .syntax(_, let position, _) = error else { throw error }
            #expect(position.line == 2)
        }
    }

    /// The parser asserts at these headers, and a NUL would hide what stands behind it.
    @Test(arguments: ["[=]", "[[[log]]]", " [ \u{301}log]", "[", "[\r", "level = 1\0", "\u{feff}", "# \0"])
    func `what the parser of TOML would end the program at, or not read, is a syntax error`(line: String) throws {
        let file = line == "\u{feff}" ? line + "[=]\n" : "[log]\n\(line)\n[batch]\n"
        do {
            _ = try load(file: file)
            Issue.record("accepted")
        } catch let error as ConfigurationError {
            guard case .syntax(_, let position, _) = error else { throw error }
            #expect(position.line == (line == "\u{feff}" ? 1 : 2))
        }
    }

    /// Each dot may nest a table, and tables are freed by recursion: without a bound these use up the stack.
    @Test(arguments: ["[NAMES]", "NAMES = 1", "a = [[{ b = { NAMES = 1 } }]]"])
    func `names nest as deep as a thousand dots`(line: String) throws {
        for (dots, refusal) in [(1000, "unknown"), (1001, "1000 dots"), (300_000, "1000 dots")] {
            let names = "log" + String(repeating: ".log", count: dots)
            let file = "# " + String(repeating: ".", count: 100) + "\n" + line.replacing("NAMES", with: names)
            do {
                _ = try load(file: file)
                Issue.record("accepted")
            } catch let error as ConfigurationError { #expect(error.summary.contains(refusal)) }
        }
    }

    @Test func `a file that is not UTF-8 is refused where it is not`() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("sae.toml")
        try Data(Array("[log]\nlevel = \"".utf8) + [0xff] + Array("\"\n".utf8)).write(to: URL(fileURLWithPath: path))
        do {
            _ = try LoadedConfiguration(arguments: ["--config", path], environment: [:])
            Issue.record("accepted")
        } catch {
            guard case .syntax(_, let position, _) = error else { throw error }
            #expect(position.line == 2)
        }
    }

    @Test func `headers of tables may be quoted and set off`() throws {
        let loaded = try load(file: "\u{feff}[ log ]\nlevel = \"debug\"\n\t[\"batch\"]\nmax_texts = 7\n")
        #expect(loaded.configuration.logLevel == "debug" && loaded.configuration.batchMaximumTexts == 7)
    }

    @Test(arguments: ["0.0.0.0:7733", "192.168.1.5:1", "[::]:7733", "example.org:80"])
    func `an address that is not loopback stops the start`(address: String) throws {
        for flag in ["--listen", "--http"] {
            let loaded = try load(flags: [flag, address])
            #expect(throws: ConfigurationError.self) { try loaded.configuration.validate() }
        }
    }

    @Test func `loopback addresses may be opened`() throws {
        for address in ["127.0.0.1:0", "[::1]:7733", "localhost:80", "127.8.8.8:9"] {
            try load(flags: ["--listen", address]).configuration.validate()
        }
    }

    @Test func `folders of jobs that somebody chose must be there, unless there are to be no jobs`() throws {
        let folder = try TemporaryFolder()
        let file = folder.path("file")
        try "x".write(toFile: file, atomically: true, encoding: .utf8)
        for (flag, path, reason) in [
            ("--state-dir", "/none", "must be a directory that is there"), ("--state-dir", file, "must be a directory"), ("--jobs-input-roots", "/none", "must be a directory that is there"),
            ("--jobs-input-roots", "a", "must be absolute paths"),
        ] {
            let loaded = try load(flags: [flag, path])
            do {
                try loaded.validate()
                Issue.record("accepted")
            } catch {
                #expect(error.summary.contains("= \(path) (flag) is not possible: it \(reason)"), "\(error.summary)")
                #expect(error.isUsage)
            }
            try load(flags: [flag, path, "--jobs-enabled", "false"]).validate()
        }
        try load(flags: ["--state-dir", folder.root, "--jobs-input-roots", "/, \(folder.root)"]).validate()
    }

    @Test func `names follow from keys, and every default is within its range`() throws {
        for setting in Setting.all {
            #expect(setting.environment.dropFirst(4).lowercased() == setting.key.split(separator: ".").joined(separator: "_"))
        }
        #expect(Set(Setting.all.map(\.flag)).count == Setting.all.count)
        // Whatever stands in a text, the listing says it.
        let odd = try load(flags: ["--unix", "a\"b\\c\n#\u{7f}é"])
        let lines = odd.listing.split(separator: "\n").dropFirst().joined(separator: "\n")
        #expect(try load(file: lines).configuration.listenUnix == odd.configuration.listenUnix)
        // The listing is a file that gives the same settings.
        let listing = try load().listing.split(separator: "\n").dropFirst().joined(separator: "\n")
        #expect(try load(file: listing).configuration.batchMaximumTexts == 256)
    }

    @Test func `the shipped file documents every setting at its default`() throws {
        let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("deploy/config/sae.toml").path
        let text = try String(contentsOfFile: path, encoding: .utf8)
        var section = ""
        var found: [String: String] = [:]
        for line in text.split(separator: "\n") {
            if line.hasPrefix("[") { section = String(line.dropFirst().dropLast()) + "." }
            let body = line.hasPrefix("#") ? line.dropFirst() : line
            let parts = body.split(separator: "=", maxSplits: 1)
            guard parts.count == 2, !body.hasPrefix(" ") else { continue }
            found[section + parts[0].trimmingCharacters(in: .whitespaces)] = parts[1].trimmingCharacters(in: .whitespaces)
        }
        let defaults = Configuration()
        for setting in Setting.all where setting.key != "config" {
            #expect(found[setting.key] == setting.value(in: defaults), "\(setting.key)")
        }
        #expect(found.count == Setting.all.count - 1)
        _ = try LoadedConfiguration(arguments: ["--config", path], environment: [:])
    }
}
