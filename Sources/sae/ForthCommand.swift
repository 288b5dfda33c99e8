import ArgumentParser
import Bytes
import Diagnostics
import Models
import Programs

/// `sae forth`: programs that people write, and those that `sae trace --forth` prints.
struct ForthCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "forth",
        abstract: "Run or check programs of the semantic Forth.",
        discussion: """
            Examples:
              sae trace "A cat sat on the mat." --forth > cat.fs
              sae forth run cat.fs
              sae forth check cat.fs
              echo 'LEXEME 300 ADD LEXEME 301 SCALE 0.5 ADD NORMALIZE' | sae forth run -

            Words: LEXEME id, PHRASE f, RULE r, SCALE x, ADD, COUPLE p q offset, LIFT x, NORMALIZE, DUP, SWAP, OVER, \
            DROP, DOT; : name … ; defines one, \\ begins a comment. A program leaves one vector.
            """,
        subcommands: [ForthRunCommand.self, ForthCheckCommand.self])
}

/// What both subcommands take.
struct ForthOptions: ParsableArguments {
    @Argument(help: "The program; - is standard input.")
    var file: String

    @Option(help: ArgumentHelp("Model file. (default: the one that comes with sae)", valueName: "file"))
    var model: String?

    @Option(help: ArgumentHelp("Words that the program may run.", valueName: "words"))
    var fuel = ForthSyntax.maximumWords

    func validate() throws {
        guard fuel > 0 else { throw ValidationError("--fuel is at least 1") }
    }

    /// Parses and runs the program.
    func run() throws -> (program: [Instruction], vector: [Float], model: Model) {
        let name = file == "-" ? "standard input" : file
        let source = try readSource()
        let program: [Instruction]
        let positions: [TextPosition]
        do throws(ForthSyntaxError) {
            (program, positions) = try ForthSyntax.parseWithPositions(source)
        } catch { throw ForthError.syntax(file: name, error) }
        let model = try Model(try model ?? ResourceLocator.model())
        var machine = Machine(tables: model.tables)
        do throws(Trap) {
            return (program, try machine.run(program, fuel: fuel), model)
        } catch { throw ForthError.trap(file: name, error.place.map { positions[$0] }, error) }
    }

    private func readSource() throws -> String {
        var reader = try LineReader(file == "-" ? "/dev/stdin" : file)
        var bytes: [UInt8] = []
        while try reader.appendNext(to: &bytes) {
            bytes.append(UInt8(ascii: "\n"))
            guard bytes.count <= maximumSourceBytes else { throw ForthError.tooLong(file: file) }
        }
        guard let source = String(validating: bytes, as: UTF8.self) else { throw ForthError.notText(file: file) }
        return source
    }
}

/// Room for a program of `ForthSyntax.maximumWords` words.
private let maximumSourceBytes = 1 << 25

/// Why a program has no vector, with its place.
enum ForthError: UserFacingError {
    case syntax(file: String, ForthSyntaxError)
    case trap(file: String, TextPosition?, Trap)
    case tooLong(file: String)
    case notText(file: String)

    var summary: String {
        switch self {
        case .syntax(let file, let error): "\(file), \(error.summary)"
        case .trap(let file, let position?, let trap): "\(file), \(position): \(trap.summary)"
        case .trap(let file, nil, let trap): "\(file): \(trap.summary)"
        case .tooLong(let file): "\(file): the program is longer than \(maximumSourceBytes) bytes"
        case .notText(let file): "\(file) is not UTF-8 text, so no program"
        }
    }

    var remedy: String? {
        switch self {
        case .syntax(_, let error): error.remedy
        case .trap(_, _, .outOfFuel): "give more with --fuel"
        case .trap, .tooLong, .notText: nil
        }
    }

    var category: ErrorCategory { .invalidInput }
}

struct ForthRunCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Run a program and print its vector.",
        discussion: """
            Examples:
              sae trace "A cat sat on the mat." --forth | sae forth run -
              sae forth run cat.fs --json
            """)

    @OptionGroup var options: ForthOptions

    @Flag(help: "Print one JSON object: model, words, vector.")
    var json = false

    func run() throws {
        let (program, vector, model) = try options.run()
        guard json else {
            print(vector.map(\.description).joined(separator: " "))
            return
        }
        var writer = JSONWriter()
        writer.object { writer in
            writer.value("model", model.name)
            writer.value("words", program.count)
            writer.array("vector", vector) { $0.value(nil, $1) }
        }
        print(writer.text)
    }
}

struct ForthCheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Run a program and say only whether it is good.",
        discussion: """
            Examples:
              sae forth check cat.fs
            """)

    @OptionGroup var options: ForthOptions

    func run() throws {
        let (program, _, model) = try options.run()
        print("\(options.file): \(program.count) words, good for model \(model.name)")
    }
}
