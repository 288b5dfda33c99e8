import ArgumentParser
import Bytes
import Evolution
import Models
import Programs
import KeyValueStore
import RuleLibrary
import Rules

/// `sae rules import`: a generation from text.
struct ImportGenerationCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Put a generation into a library: an exported one, or rules with the vectors of their phrases.",
        discussion: """
            Prints the digest. A library that is not there is made.

            Examples:
              sae rules import promoted.rules --library lib
              sae rules import rules.txt --phrases phrases.npy --library lib
            """)

    @Argument(help: "A text that `sae rules export` wrote, or rules alone.")
    var file: String

    @OptionGroup var place: LibraryArguments
    @OptionGroup var model: LibraryModelArguments

    @Option(help: ArgumentHelp("The vectors of the phrases of rules alone, one a row.", valueName: "npy"))
    var phrases: String?

    @Flag(help: "Promote it as well.")
    var promote = false

    func run() throws {
        let base = try model.open()
        let basePath = try model.model ?? ResourceLocator.model()
        let mapped = try MappedFile(file)
        guard let text = withExtendedLifetime(mapped, { String(validating: mapped.bytes, as: UTF8.self) }) else {
            throw RuleError.file(path: file, .notText)
        }
        let names = PieceNames(pieces: base.pieces)
        var (generation, worth) = try GenerationText.isGeneration(text)
            ? GenerationText.parse(text, names: names) : rulesAlone(text, names, base)
        if worth.testVector.isEmpty { worth.testVector = try generation.testVector(on: base, path: basePath) }
        _ = try generation.model(on: base, worth: worth, basePath: basePath)
        var library = try Library(place.library, access: .writing)
        try library.add(generation, worth: worth)
        if promote { try library.promote(generation.digest, milliseconds: wallClockMilliseconds()) }
        print(generation.digest)
    }

    private func rulesAlone(
        _ text: String, _ names: PieceNames, _ base: Model
    ) throws -> (generation: Generation, worth: Worth) {
        let rules = try RuleSyntax.parse(Array(text.utf8), ofFile: file, names: names)
        let shape = base.tables.shape
        var records = PackedRecords(shape: shape)
        if rules.phraseCount > 0 {
            guard let phrases else { throw CommandError.usage("rules with phrases need --phrases, the vectors of these") }
            let array = try NumpyArray(phrases)
            guard array.rowCount == rules.phraseCount, array.columnCount == shape.dimensions else {
                throw FileError.format(
                    path: phrases,
                    reason: "\(array.rowCount) x \(array.columnCount) are not the vectors of \(rules.phraseCount) phrases, "
                        + "\(rules.phraseCount) x \(shape.dimensions)")
            }
            let others = [Float](repeating: 0, count: shape.recordElementCount - shape.dimensions)
            for phrase in 0..<rules.phraseCount { records.append(array.row(phrase) + others, bias: 0) }
        }
        var origin = Origin()
        origin.options = "import"
        let generation = Generation(model: Digest(base.digest), origin: origin, rules: rules, records: records.bytes)
        return (generation, Worth(madeMilliseconds: wallClockMilliseconds(), bytes: generation.byteCount))
    }
}
