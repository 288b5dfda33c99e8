import ArgumentParser
import Bytes
import KeyValueStore
import RuleLibrary

/// `sae rules promote`: which generation serves.
struct PromoteGenerationCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "promote",
        abstract: "Make a generation the one that serves, or go back to the one before.",
        discussion: """
            It is read and checked first. A running daemon takes it when it is told to reload: SIGHUP, or systemctl reload sae.

            Examples:
              sae rules promote 3fa4b2 --library lib
              sae rules promote --previous --library lib
            """)

    @Argument(help: "The beginning of a digest.")
    var generation: String?

    @OptionGroup var place: LibraryArguments

    @Flag(help: "Go back to the generation that served before the promoted one.")
    var previous = false

    func validate() throws {
        guard (generation == nil) == previous else { throw ValidationError("give either a generation or --previous") }
    }

    func run() throws {
        // To write makes a library that is not there, so it is read first.
        do {
            var library = try Library(place.library, access: .reading)
            if let generation { _ = try library.generation(try library.digest(named: generation)) }
        }
        var library = try Library(place.library, access: .writing)
        let before = try library.promotions().first?.digest
        let now = wallClockMilliseconds()
        let promoted: Digest
        if let generation {
            promoted = try library.digest(named: generation)
            try library.promote(promoted, milliseconds: now)
        } else {
            promoted = try library.promotePrevious(milliseconds: now)
        }
        print(promoted)
        if let before, before != promoted { Terminal.printNote("it takes the place of \(before.short)") }
    }
}
