import ArgumentParser
import Bytes
import Evaluation
import Glibc
import SAEEngine

/// `sae eval`: scores of a model on gold labels.
struct EvalCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "eval",
        abstract: "Score a model on labelled texts.",
        subcommands: [Similarity.self, Retrieval.self, NearestNeighbours.self])

    /// What the three have in common.
    struct Options: ParsableArguments {
        @OptionGroup var engine: EngineOptions

        @Option(help: "Leading dimensions, such as 64,128,256. (default: all)", transform: positiveNumbers)
        var dimensions: [Int] = []

        @Option(help: temperatureHelp, transform: parsedTemperature)
        var temperature = Temperature.fitted

        @Flag(help: "Print one JSON object a row instead of a table.")
        var json = false

        /// An evaluator for each of the dimensions.
        func evaluators() throws -> [(dimensions: Int, evaluator: Evaluator)] {
            let engine = try engine.open()
            let chosen = dimensions.isEmpty ? [engine.dimensions] : dimensions
            if let tooMany = chosen.first(where: { $0 > engine.dimensions }) {
                throw ValidationError("--dimensions \(tooMany) is more than the model's \(engine.dimensions)")
            }
            let threads = max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
            return chosen.map { ($0, Evaluator(engine: engine, dimensions: $0, temperature: temperature, threads: threads)) }
        }

        /// One row of results.
        func print(_ file: String, dimensions: Int, _ figures: [(name: String, value: Double)]) {
            if json {
                let cells = figures.map { #""\#($0.name)":\#(hundredths($0.value))"# }.joined(separator: ",")
                Swift.print(#"{"file":\#(JSONWriter.quoted(file)),"dimensions":\#(dimensions),\#(cells)}"#)
            } else {
                let cells = figures.map { "  \($0.name) \(hundredths($0.value))" }.joined()
                Swift.print("\(file)  dimensions \(dimensions)\(cells)")
            }
        }
    }

    struct Similarity: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "sts",
            abstract: "Correlate cosines with gold scores (Spearman and Pearson × 100).",
            discussion: """
                A line is: score, tab, text, tab, text.

                Examples:
                  sae eval sts stsb-dev.tsv sick-trial.tsv
                  sae eval sts stsb-dev.tsv --dimensions 64,128,256 --json
                """)

        @Argument(help: "Files to score.")
        var files: [String]

        @OptionGroup var options: Options

        func run() throws {
            let tables = try files.map { try LabelledTexts($0, columns: 3) }
            for (dimensions, evaluator) in try options.evaluators() {
                var total = (spearman: 0.0, pearson: 0.0)
                for table in tables {
                    let scores = try evaluator.similarity(table)
                    total = (total.spearman + scores.spearman, total.pearson + scores.pearson)
                    options.print(
                        table.path, dimensions: dimensions,
                        [("spearman", scores.spearman), ("pearson", scores.pearson)])
                }
                guard tables.count > 1 else { continue }
                let count = Double(tables.count)
                options.print(
                    "mean", dimensions: dimensions,
                    [("spearman", total.spearman / count), ("pearson", total.pearson / count)])
            }
        }
    }

    struct Retrieval: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "retrieval",
            abstract: "How often the right text is the nearest (× 100).",
            discussion: """
                A line is: text, tab, the text that should be nearest to it among the second texts of all lines.

                Example:
                  sae eval retrieval captions-retrieval.tsv
                """)

        @Argument(help: "Files to score.")
        var files: [String]

        @OptionGroup var options: Options

        func run() throws {
            let tables = try files.map { try LabelledTexts($0, columns: 2) }
            for (dimensions, evaluator) in try options.evaluators() {
                for table in tables {
                    let accuracy = try evaluator.retrieval(table)
                    options.print(table.path, dimensions: dimensions, [("accuracy", accuracy)])
                }
            }
        }
    }

    struct NearestNeighbours: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "knn",
            abstract: "Accuracy of a vote of the nearest labelled texts (× 100).",
            discussion: """
                A line is: label, tab, text.

                Example:
                  sae eval knn clinc150-train.tsv clinc150-dev.tsv --neighbours 5
                """)

        @Argument(help: "Texts with known labels.")
        var train: String

        @Argument(help: "Texts whose labels are voted on.")
        var test: String

        @Option(help: "Neighbours that vote.")
        var neighbours = 5

        @OptionGroup var options: Options

        func validate() throws {
            if neighbours < 1 { throw ValidationError("--neighbours is at least 1") }
        }

        func run() throws {
            let train = try LabelledTexts(train, columns: 2)
            let test = try LabelledTexts(test, columns: 2)
            for (dimensions, evaluator) in try options.evaluators() {
                let accuracy = try evaluator.nearestNeighbours(train: train, test: test, neighbours: neighbours)
                options.print(test.path, dimensions: dimensions, [("accuracy", accuracy)])
            }
        }
    }
}

/// Numbers above zero, separated by commas.
func positiveNumbers(_ text: String) throws -> [Int] {
    let parts = text.split(separator: ",", omittingEmptySubsequences: false)
    let values = parts.compactMap { Int($0) }.filter { $0 > 0 }
    guard values.count == parts.count else {
        throw ValidationError("'\(text)' is no list of numbers above zero, such as 64,128,256")
    }
    guard Set(values).count == values.count else { throw ValidationError("'\(text)' holds a number twice") }
    return values
}

/// Two decimals, for people and for JSON.
private func hundredths(_ value: Double) -> String {
    let scaled = Int((abs(value) * 100).rounded())
    let sign = value < 0 && scaled > 0 ? "-" : ""
    return "\(sign)\(scaled / 100).\(scaled % 100 < 10 ? "0" : "")\(scaled % 100)"
}
