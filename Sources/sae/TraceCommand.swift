import ArgumentParser
import Bytes
import Glibc
import SAEEngine

/// `sae trace`: how a text becomes its vector.
struct TraceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trace",
        abstract: "Show how a text becomes its vector.",
        discussion: """
            Examples:
              sae trace "A cat sat on the mat."
              sae trace "A cat sat on the mat." --temperature classification
              sae trace "A cat sat on the mat." --json
              sae trace "A cat sat on the mat." --html cat.html
              sae trace "A cat sat on the mat." --exact
              sae trace "A cat sat on the mat." "A kitten sat on a rug."
              sae trace "A cat sat on the mat." --forth | sae forth run -

            The share of an item, coupling or context rule is what it gives to the vector: all shares add up to \
            100 %. For two texts, the parts of each add up to their similarity. docs/trace.md describes the JSON.
            """)

    @Argument(help: "The text, or two texts to compare.")
    var texts: [String]

    @OptionGroup var engine: EngineOptions

    @Option(help: temperatureHelp, transform: parsedTemperature)
    var temperature = Temperature.fitted

    @Flag(help: "Print one JSON object.")
    var json = false

    @Flag(help: "Print the program alone, as sae forth run takes it.")
    var forth = false

    @Option(help: ArgumentHelp("Write a page with a picture, instead of text; - is standard output.", valueName: "file"))
    var html: String?

    @Flag(help: "Also search for the least energy of the discrete rules, and say whether annealing reached it.")
    var exact = false

    func validate() throws {
        guard !exact || temperature != .infinite else {
            throw ValidationError("no discrete rule takes part at infinite temperature: --exact has no meaning there")
        }
        guard html != "" else { throw ValidationError("--html needs the name of a file, or - for standard output") }
        guard html != "-" || !(json || forth) else {
            throw ValidationError("--html - and \(json ? "--json" : "--forth") would both go to standard output")
        }
        guard (1...2).contains(texts.count) else { throw ValidationError("give one text, or two to compare") }
        guard !(json && forth) else { throw ValidationError("give --json or --forth, not both") }
        guard texts.count == 1 || !(forth || exact) else {
            throw ValidationError("--forth and --exact are for one text")
        }
    }

    func run() throws {
        let engine = try engine.open()
        let traces = try texts.map { try engine.trace(Array($0.utf8), temperature: temperature, isExact: exact) }
        if exact, traces[0].annealing == nil {
            Terminal.printNote("model \(traces[0].modelName) has no discrete rules: there is nothing to search")
        }
        let paint = Paint(isOn: Terminal.hasColours(on: STDOUT_FILENO))
        if traces.count == 2 {
            let comparison = TraceComparison(traces[0], traces[1])
            if let html { try write(ComparisonPage(comparison).html, to: html) }
            if json {
                print(comparison.json)
            } else if html == nil {
                print(ComparisonText(comparison, paint: paint).report, terminator: "")
            }
            return
        }
        if let html { try write(TracePage(traces[0]).html, to: html) }
        if json {
            print(traces[0].json)
        } else if forth {
            print(traces[0].source, terminator: "")
        } else if html == nil {
            print(TraceText(traces[0], paint: paint).report, terminator: "")
        }
    }

    private func write(_ text: String, to path: String) throws {
        guard path != "-" else { return print(text, terminator: "") }
        var writer = try AtomicFileWriter(path)
        try writer.append(Array(text.utf8))
        try writer.commit()
    }
}
