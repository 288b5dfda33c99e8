import ArgumentParser
import Bytes
import KeyValueStore
import RuleLibrary
import Rules

/// `sae rules export`: a generation as text.
struct ExportGenerationCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Write a generation as text, from which it can be imported again.",
        discussion: """
            The text has the rules in their syntax, the records of their phrases, and where the generation comes from.

            Example:
              sae rules export promoted --library lib --output promoted.rules

            What a search found, as phrases of a new fit:
              sae rules export promoted --library lib --only-rules --output found.rules
              sae fit texts.txt.gz vectors.npy --phrases found.rules --output my.sae
            """)

    @Argument(help: "The beginning of a digest, or \"promoted\".")
    var generation: String

    @OptionGroup var place: LibraryArguments
    @OptionGroup var model: LibraryModelArguments

    @Option(help: ArgumentHelp("Where the text goes. (default: standard output)", valueName: "file"))
    var output: String?

    @Flag(help: "Write the rules alone, as sae fit --phrases reads them.")
    var onlyRules = false

    func run() throws {
        if let output { try checkWritable(output) }
        var library = try Library(place.library, access: .reading)
        let (generation, worth) = try library.generation(try library.digest(named: generation))
        let names = try model.names(for: generation)
        let text =
            if onlyRules { RuleSyntax.print(generation.rules, names: names) } else {
                GenerationText.print(generation, worth: worth, names: names)
            }
        guard let output else { return print(text, terminator: "") }
        var file = try AtomicFileWriter(output)
        try file.append(Array(text.utf8))
        try file.commit()
    }
}
