import ArgumentParser
import Bytes
import KeyValueStore
import RuleLibrary
import Rules

/// `sae rules diff`: what one generation has and another has not.
struct DiffGenerationsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff",
        abstract: "Show the rules that differ between two generations.",
        discussion: """
            A rule is another one when its pattern, edit, numbers or phrase is. Phrases have the numbers of their own \
            generation.

            Example:
              sae rules diff 3fa4b2 promoted --library lib
            """)

    @Argument(help: "A generation.")
    var from: String

    @Argument(help: "Another generation.")
    var to: String

    @OptionGroup var place: LibraryArguments
    @OptionGroup var model: LibraryModelArguments

    @Flag(help: "Print one JSON object.")
    var json = false

    func run() throws {
        var library = try Library(place.library, access: .reading)
        let (before, after) = (try library.digest(named: from), try library.digest(named: to))
        let (removed, added) = (try lines(before, notIn: after, &library), try lines(after, notIn: before, &library))
        guard !json else {
            var writer = JSONWriter()
            writer.object { writer in
                writer.value("from", before.description)
                writer.value("to", after.description)
                writer.array("removed", removed) { $0.value(nil, $1) }
                writer.array("added", added) { $0.value(nil, $1) }
            }
            return print(writer.text)
        }
        for line in removed { print("- \(printable(line))") }
        for line in added { print("+ \(printable(line))") }
        Terminal.printNote("\(removed.count) rules only in \(before.short), \(added.count) only in \(after.short)")
    }

    private func lines(_ digest: Digest, notIn other: Digest, _ library: inout Library) throws -> [String] {
        let theirs = Set(try library.rules(of: other).map(\.id))
        let ours = try library.rules(of: digest).filter { !theirs.contains($0.id) }
        guard !ours.isEmpty else { return [] }
        let generation = try library.generation(digest).generation
        let names = try model.names(for: generation)
        return ours.map { RuleSyntax.line(of: $0.rule, in: generation.rules, names: names) }
    }
}
