import ArgumentParser
import Bytes
import KeyValueStore
import RuleLibrary

/// `sae rules lineage`: what a generation was made from.
struct LineageCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lineage",
        abstract: "Show a generation and what it was made from, back to the first.",
        discussion: """
            Example:
              sae rules lineage promoted --library lib
            """)

    @Argument(help: "The beginning of a digest, or \"promoted\".")
    var generation: String

    @OptionGroup var place: LibraryArguments

    @Flag(help: "Print one JSON array, each generation once.")
    var json = false

    func run() throws {
        var library = try Library(place.library, access: .reading)
        let first = try library.digest(named: generation)
        let known = Dictionary(uniqueKeysWithValues: try library.summaries().map { ($0.digest, $0) })
        // A generation may be reached in several ways: it is shown with its parents the first time only.
        var seen: Set<Digest> = []
        var steps: [(depth: Int, digest: Digest)] = []
        var rest = [(depth: 0, digest: first)]
        while let (depth, digest) = rest.popLast() {
            steps.append((depth, digest))
            guard seen.insert(digest).inserted else { continue }
            for parent in (known[digest]?.origin.parents ?? []).reversed() { rest.append((depth + 1, parent)) }
        }
        guard !json else {
            var writer = JSONWriter()
            var printed: Set<Digest> = []
            let generations = steps.filter { printed.insert($0.digest).inserted }.compactMap { known[$0.digest] }
            writer.array(nil, generations) { $0.summary($1) }
            return print(writer.text)
        }
        for (depth, digest) in steps {
            let indent = String(repeating: "  ", count: depth)
            guard let summary = known[digest] else {
                print("\(indent)\(digest.short)  (pruned)")
                continue
            }
            let score = summary.worth.scores["held-out-cosine"].map { "  held-out " + fixed(Float($0), 5, 0) } ?? ""
            let options = summary.origin.options.isEmpty ? "" : "  \(printable(summary.origin.options))"
            print(
                "\(indent)\(digest.short)\(summary.isPromoted ? " *" : "")  "
                    + "\(formatted(milliseconds: summary.worth.madeMilliseconds))  \(summary.ruleCount) rules\(score)\(options)")
        }
    }
}
