import ArgumentParser
import Bytes
import KeyValueStore
import RuleLibrary

/// `sae rules list`: what a library holds.
struct ListGenerationsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "List the generations of a library, the oldest first.",
        discussion: """
            * marks the promoted one.

            Example:
              sae rules list --library lib
            """)

    @OptionGroup var place: LibraryArguments

    @Flag(help: "Print one JSON array.")
    var json = false

    func run() throws {
        var library = try Library(place.library, access: .reading)
        let summaries = try library.summaries()
        guard !json else {
            var writer = JSONWriter()
            writer.array(nil, summaries) { $0.summary($1) }
            return print(writer.text)
        }
        let head = ["", "generation", "made (UTC)", "parent", "model", "rules", "phrases", "bytes", "us", "held-out", "by"]
        let rows = summaries.map { summary -> [String] in
            let (worth, parent) = (summary.worth, summary.origin.parents.first?.short ?? "-")
            return [
                summary.isPromoted ? "*" : " ", summary.digest.short, formatted(milliseconds: worth.madeMilliseconds), parent,
                summary.model.short, "\(summary.ruleCount)", "\(summary.phraseCount)", "\(worth.bytes)",
                worth.microseconds > 0 ? fixed(Float(worth.microseconds), 2, 0) : "-",
                worth.scores["held-out-cosine"].map { fixed(Float($0), 5, 0) } ?? "-", Self.maker(summary.origin.options),
            ]
        }
        print(table([head] + rows))
    }

    /// First and last of the options: the method and the point of a search, as "evolution, small".
    private static func maker(_ options: String) -> String {
        let parts = options.split(separator: ",").map { $0.drop { $0 == " " } }
        guard let first = parts.first, let last = parts.last else { return "-" }
        return printable(String((parts.count == 1 ? first : first + ", " + last).prefix(32)))
    }
}

extension JSONWriter {
    /// A generation without its rules.
    mutating func summary(_ summary: Library.Summary) {
        object { $0.members(of: summary) }
    }

    mutating func members(of summary: Library.Summary) {
        value("digest", summary.digest.description)
        value("model", summary.model.description)
        value("promoted", summary.isPromoted)
        array("parents", summary.origin.parents) { $0.value(nil, $1.description) }
        value("seed", summary.origin.seed)
        value("options", summary.origin.options)
        for (key, digest) in [("corpus", summary.origin.corpus), ("teacher", summary.origin.teacher)] {
            if let digest { value(key, digest.description) } else { null(key) }
        }
        value("made_ms", summary.worth.madeMilliseconds)
        value("rules", summary.ruleCount)
        value("phrases", summary.phraseCount)
        value("bytes", summary.worth.bytes)
        value("us", summary.worth.microseconds)
        object("scores") { scores in
            for (name, score) in summary.worth.scores.sorted(by: { $0.key < $1.key }) { scores.value(name, score) }
        }
    }
}
