import ArgumentParser
import Bytes
import Daemon
import Glibc
import KeyValueStore
import RuleLibrary

/// `sae rules prune`: away with old generations.
struct PruneGenerationsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prune",
        abstract: "Remove old generations and the rules that no other has.",
        discussion: """
            The promoted generation stays, the one before it, and those made last. So does one with which a corpus job of a \
            daemon began that is not computed yet: the job could not go on after a restart. The file does not become smaller: its \
            room is used again.

            Example:
              sae rules prune --keep 10 --dry-run --library lib
            """)

    @OptionGroup var place: LibraryArguments

    @Option(help: "So many of those made last stay.")
    var keep = 20

    @Option(
        help: ArgumentHelp(
            "State directory of a daemon that uses the library; may be given several times. (default: \(Configuration().stateDirectory))",
            valueName: "folder"))
    var stateDir: [String] = []

    @Flag(help: "No daemon with corpus jobs uses the library.")
    var noStateDir = false

    @Flag(help: "Only say what would go.")
    var dryRun = false

    func validate() throws {
        guard keep >= 0 else { throw ValidationError("--keep is a number of generations, 0 or more") }
        guard stateDir.isEmpty || !noStateDir else { throw ValidationError("--state-dir and --no-state-dir exclude each other") }
    }

    func run() throws {
        _ = try Library(place.library, access: .reading)
        let needed = try neededByJobs()
        var library = try Library(place.library, access: .writing)
        let pruned = try library.prune(keeping: keep, pinned: Set(needed.map(\.digest)), isTrial: dryRun)
        for digest in pruned.generations { print(digest) }
        for digest in pruned.pinned {
            let jobs = needed.filter { $0.digest == digest }.map(\.job)
            Terminal.printNote("\(digest.short) stays: \(jobs.joined(separator: ", ")) began with it and is not computed yet")
        }
        Terminal.printNote(
            "\(pruned.generations.count) generations and \(pruned.partCount) rules, phrases and classes of theirs "
                + (dryRun ? "would go" : "removed"))
    }

    private func neededByJobs() throws -> [(digest: Digest, job: String)] {
        guard !noStateDir else { return [] }
        var places = stateDir
        // Where no daemon was ever installed there is none.
        let usual = Configuration().stateDirectory
        if places.isEmpty, access(usual, F_OK) == 0 { places = [usual] }
        do { return try places.flatMap { try JobGenerations.needed(below: $0) } } catch let error as FileError {
            throw CommandError.unreadJobs(error)
        }
    }
}
