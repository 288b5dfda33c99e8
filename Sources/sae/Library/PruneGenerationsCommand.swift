import ArgumentParser
import KeyValueStore
import RuleLibrary

/// `sae rules prune`: away with old generations.
struct PruneGenerationsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prune",
        abstract: "Remove old generations and the rules that no other has.",
        discussion: """
            The promoted generation stays, the one before it, and those made last. The file does not become smaller: its \
            room is used again.

            Example:
              sae rules prune --keep 10 --dry-run --library lib
            """)

    @OptionGroup var place: LibraryArguments

    @Option(help: "So many of those made last stay.")
    var keep = 20

    @Flag(help: "Only say what would go.")
    var dryRun = false

    func validate() throws {
        guard keep >= 0 else { throw ValidationError("--keep is a number of generations, 0 or more") }
    }

    func run() throws {
        _ = try Library(place.library, access: .reading)
        var library = try Library(place.library, access: .writing)
        let pruned = try library.prune(keeping: keep, isTrial: dryRun)
        for digest in pruned.generations { print(digest) }
        Terminal.printNote(
            "\(pruned.generations.count) generations and \(pruned.partCount) rules, phrases and classes of theirs "
                + (dryRun ? "would go" : "removed"))
    }
}
