import ArgumentParser
import Bytes
import KeyValueStore
import RuleLibrary

/// `sae rules export`: a generation as text.
struct ExportGenerationCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Write a generation as text, from which it can be imported again.",
        discussion: """
            The text has the rules in their syntax, the records of their phrases, and where the generation comes from.

            Example:
              sae rules export promoted --library lib --output promoted.rules
            """)

    @Argument(help: "The beginning of a digest, or \"promoted\".")
    var generation: String

    @OptionGroup var place: LibraryArguments
    @OptionGroup var model: LibraryModelArguments

    @Option(help: ArgumentHelp("Where the text goes. (default: standard output)", valueName: "file"))
    var output: String?

    func run() throws {
        if let output { try checkWritable(output) }
        var library = try Library(place.library, access: .reading)
        let (generation, worth) = try library.generation(try library.digest(named: generation))
        let text = GenerationText.print(generation, worth: worth, names: try model.names(for: generation))
        guard let output else { return print(text, terminator: "") }
        var file = try AtomicFileWriter(output)
        try file.append(Array(text.utf8))
        try file.commit()
    }
}
