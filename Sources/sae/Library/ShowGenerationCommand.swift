import ArgumentParser
import Bytes
import KeyValueStore
import RuleLibrary
import Rules

/// `sae rules show`: one generation.
struct ShowGenerationCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Show a generation: where it comes from, what it is worth, and its best rules.",
        discussion: """
            Examples:
              sae rules show promoted --library lib
              sae rules show 3fa4b2 --library lib --rules 100
            """)

    @Argument(help: "The beginning of a digest, or \"promoted\".")
    var generation: String

    @OptionGroup var place: LibraryArguments
    @OptionGroup var model: LibraryModelArguments

    @Option(help: "So many rules, those of the greatest worth first.")
    var rules = 20

    @Flag(help: "Print one JSON object.")
    var json = false

    func validate() throws {
        guard rules >= 0 else { throw ValidationError("--rules is a number of rules, 0 or more") }
    }

    func run() throws {
        var library = try Library(place.library, access: .reading)
        let digest = try library.digest(named: generation)
        let (found, worth) = try library.generation(digest)
        guard let summary = try library.summaries().first(where: { $0.digest == digest }) else {
            throw LibraryError.unknown(path: place.library, name: generation)
        }
        let names = try model.names(for: found)
        let best = found.rules.rules.sorted { $0.worth > $1.worth }.prefix(rules)
            .map { RuleSyntax.line(of: $0, in: found.rules, names: names) }
        guard !json else {
            var writer = JSONWriter()
            writer.object { writer in
                writer.members(of: summary)
                writer.object("families") { for (name, count) in families(found.rules) { $0.value(name, count) } }
                writer.array("best", best) { $0.value(nil, $1) }
            }
            return print(writer.text)
        }
        let origin = summary.origin
        var lines = [
            ("generation", digest.description), ("promoted", summary.isPromoted ? "yes" : "no"),
            ("made", formatted(milliseconds: worth.madeMilliseconds) + " UTC"), ("model", found.model.description),
        ]
        lines += origin.parents.map { ("parent", $0.description) }
        lines.append(("seed", "\(origin.seed)"))
        if !origin.options.isEmpty { lines.append(("options", origin.options)) }
        if let corpus = origin.corpus { lines.append(("corpus", corpus.description)) }
        if let teacher = origin.teacher { lines.append(("teacher", teacher.description)) }
        lines += worth.scores.sorted { $0.key < $1.key }.map { ($0.key, "\($0.value)") }
        lines += [("bytes", "\(worth.bytes)"), ("microseconds", worth.microseconds > 0 ? "\(worth.microseconds)" : "unknown")]
        lines += [("rules", "\(found.rules.rules.count)"), ("phrases", "\(found.rules.phraseCount)")]
        lines += families(found.rules).map { ($0, "\($1)") }
        let width = lines.map(\.0.count).max() ?? 0
        print(lines.map { padded($0, width) + "  " + printable($1) }.joined(separator: "\n"))
        if !best.isEmpty { print("\n" + best.map(printable).joined(separator: "\n")) }
    }

    /// How many rules there are of each kind.
    private func families(_ rules: RuleSet) -> [(String, Int)] {
        var counts: [String: Int] = [:]
        for rule in rules.rules {
            let kind =
                switch rule.pattern {
                case .trigger: "trigger"
                case .sequence(_, let gaps): gaps.contains { $0 > 0 } ? "skip-gram" : "phrase"
                }
            counts["\(kind), \(rule.edit == .replace ? "replace" : "add")", default: 0] += 1
        }
        return counts.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }
}
