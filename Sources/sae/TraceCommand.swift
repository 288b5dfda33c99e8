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
              sae trace "A cat sat on the mat." --forth | sae forth run -

            The share of an item, coupling or context rule is what it gives to the vector: all shares add up to \
            100 %. docs/trace.md describes the JSON.
            """)

    @Argument(help: "The text.")
    var text: String

    @Option(help: ArgumentHelp("Model file. (default: the one that comes with sae)", valueName: "file"))
    var model: String?

    @Option(help: temperatureHelp, transform: parsedTemperature)
    var temperature = Temperature.fitted

    @Flag(help: "Print one JSON object.")
    var json = false

    @Flag(help: "Print the program alone, as sae forth run takes it.")
    var forth = false

    @Option(help: ArgumentHelp("Write a page with a picture, instead of text.", valueName: "file"))
    var html: String?

    @Flag(help: "Also search for the least energy of the discrete rules, and say whether annealing reached it.")
    var exact = false

    func validate() throws {
        guard !exact || temperature != .infinite else {
            throw ValidationError("no discrete rule takes part at infinite temperature: --exact has no meaning there")
        }
        guard !(json && forth) else { throw ValidationError("give --json or --forth, not both") }
    }

    func run() throws {
        let engine = try Engine(contentsOf: try model ?? ResourceLocator.model())
        let trace = try engine.trace(Array(text.utf8), temperature: temperature, isExact: exact)
        if exact, trace.annealing == nil {
            Terminal.printNote("model \(trace.modelName) has no discrete rules: there is nothing to search")
        }
        if let html { try write(TracePage(trace).html, to: html) }
        if json {
            print(trace.json)
        } else if forth {
            print(trace.source, terminator: "")
        } else if html == nil {
            print(TraceText(trace, paint: Paint(isOn: Terminal.hasColours(on: STDOUT_FILENO))).report, terminator: "")
        }
    }

    private func write(_ text: String, to path: String) throws {
        var writer = try AtomicFileWriter(path)
        try writer.append(Array(text.utf8))
        try writer.commit()
    }
}
