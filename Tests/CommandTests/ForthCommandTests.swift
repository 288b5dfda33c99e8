import Foundation
import TestSupport
import Testing

@Suite struct ForthCommandTests {
    let folder: TemporaryFolder
    let model: String

    init() throws {
        folder = try TemporaryFolder()
        model = try TinyModel.write(in: folder)
    }

    private func run(_ subcommand: String, _ program: String, _ more: [String] = []) throws -> Command {
        try Command(["forth", subcommand, "-", "--model", model] + more, input: Array(program.utf8))
    }

    @Test func `a program by hand gives the vector of the piece`() throws {
        let plain = try run("run", "LEXEME 300 ADD NORMALIZE")
        let defined = try run("run", ": cat LEXEME 300 ADD ; \\ by name\ncat NORMALIZE")
        #expect(plain.status == 0 && plain.output == defined.output)
        #expect(plain.output.split(separator: " ").count == 256)
        let json = try run("run", "LEXEME 300 ADD NORMALIZE", ["--json"])
        let object = try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any]
        #expect(object?["words"] as? Int == 3 && object?["model"] as? String == "tiny")
        let vector = (object?["vector"] as? [Double])?.map(Float.init)
        #expect(vector == plain.output.split(whereSeparator: \.isWhitespace).compactMap { Float($0) })
        #expect(vector?.isEmpty == false)
    }

    @Test func `check says that a program is good, and nothing else`() throws {
        let path = folder.path("p.fs")
        try "LEXEME 300 ADD NORMALIZE".write(toFile: path, atomically: true, encoding: .utf8)
        let run = try Command(["forth", "check", path, "--model", model])
        #expect(run.status == 0 && run.output == "\(path): 3 words, good for model tiny\n")
    }

    @Test(arguments: [
        ("LEXEME 3 ADD\n  FLY", "standard input, line 2, column 3: expected a word, found FLY"),
        ("LEXEME 3\nLEXEME 99999", "standard input, line 2, column 1: word 1, LEXEME: there is no 99999"),
        (": x ADD ;\nDUP", "standard input, line 2, column 1: word 0, DUP: too little on the stack"),
        ("LEXEME 3 ADD\n x", "standard input, line 2, column 2: expected a word, found x"),
        ("LEXEME 3 ADD", "standard input: the program ends without exactly one vector on the stack"),
    ]) func `a bad program is exit code 65, with its place`(_ program: String, _ message: String) throws {
        for subcommand in ["run", "check"] {
            let run = try run(subcommand, program)
            #expect(run.status == 65 && run.output.isEmpty)
            #expect(run.errors.hasPrefix("sae: error: \(message)"), "\(run.errors)")
        }
    }

    @Test func `other causes have other exit codes`() throws {
        #expect(try Command(["forth", "run", folder.path("none.fs"), "--model", model]).status == 66)
        #expect(try Command(["forth", "run"]).status == 64)
        let fuel = try run("run", "LEXEME 3 ADD NORMALIZE", ["--fuel", "2"])
        #expect(fuel.status == 65 && fuel.errors.contains("line 1, column 14: word 2: out of fuel; give more with --fuel"))
    }
}
