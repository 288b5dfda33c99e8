import ArgumentParser
import Bytes
import LoadGeneration
import SAEEngine

/// `sae bench`: texts a second, in process or through a daemon. Prints a JSON object a measurement.
struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure speed: texts a second and latencies.",
        discussion: """
            Examples:
              sae bench texts.txt --threads 1,2
              sae bench texts.txt --connect unix:/run/sae/sae.sock --connections 1,8,64 --batch 1,64

            In process: the median of five runs over all texts, after one to warm up. With --connect: each \
            connection has one request under way, for --seconds after a fifth of that to warm up. A JSON \
            object a line.
            """)

    @Argument(
        help: ArgumentHelp("Texts, one a line, plain or gzip; the first 20,000 are used.", valueName: "file"))
    var file: String

    @Option(help: ArgumentHelp("Model file. (default: the one that comes with sae)", valueName: "file"))
    var model: String?

    @Option(help: temperatureHelp, transform: parsedTemperature)
    var temperature = Temperature.fitted

    @Option(help: ArgumentHelp("Numbers of threads, in process.", valueName: "n,n"))
    var threads: CountList = [1]

    @OptionGroup var daemon: DaemonOptions

    @Option(help: ArgumentHelp("Numbers of connections.", valueName: "n,n"))
    var connections: CountList = [1, 8, 64]

    @Option(help: ArgumentHelp("Texts in a request.", valueName: "n,n"))
    var batch: CountList = [1, 64]

    @Option(help: "Seconds of one measurement through a socket.")
    var seconds = 4.0

    func validate() throws {
        guard seconds > 0, seconds <= 3600 else {
            throw ValidationError("--seconds is over 0 and at most 3600")
        }
        guard daemon.connect == nil || (model == nil && temperature == .fitted) else {
            throw ValidationError("--model and --temperature have no meaning with --connect")
        }
    }

    func run() async throws {
        let lines = try TextLines(contentsOf: file, maximumCount: 20_000)
        guard lines.count > 0 else { throw CommandError.usage("\(file) holds no texts") }
        if let connect = daemon.connect {
            try await measureDaemon(at: connect, lines)
        } else {
            try measureEngine(lines)
        }
    }

    private func measureEngine(_ lines: TextLines) throws {
        let engine = try Engine(contentsOf: try model ?? ResourceLocator.model())
        var texts = TextBatch()
        for index in 0..<lines.count { texts.append(utf8: lines[index]) }
        // A text without a vector costs nothing and would be counted all the same.
        let outcomes = engine.embed(texts, temperature: temperature, threads: 1).outcomes
        texts = TextBatch()
        for (index, outcome) in outcomes.enumerated() where outcome.status == .ok { texts.append(utf8: lines[index]) }
        if texts.count < lines.count {
            Terminal.printNote("\(lines.count - texts.count) of \(lines.count) texts have no vector and were left out")
        }
        guard texts.count > 0 else { throw CommandError.usage("\(file) holds no text that has a vector") }
        let name = temperature == .infinite ? "engine, plain sum" : "engine"
        for count in threads.values {
            let rates = rates(engine, texts, threads: count)
            print(
                #"{"what":"\#(name)","threads":\#(count),"texts":\#(texts.count),"texts_per_second":\#(Int(rates[2])),"#
                    + #""minimum":\#(Int(rates[0])),"maximum":\#(Int(rates[4]))}"#)
        }
    }

    /// Five rates, ascending. Each is of five loops, or as many as 20,000 texts take, with warm workspaces: the time of one
    /// more, less that of one that begins cold.
    private func rates(_ engine: Engine, _ texts: TextBatch, threads: Int) -> [Double] {
        let clock = ContinuousClock()
        let loops = max(5, (20_000 + texts.count - 1) / texts.count)
        return (0..<5).map { _ in
            let cold = clock.measure { engine.bench(texts, loops: 1, temperature: temperature, threads: threads) }
            let all = clock.measure { engine.bench(texts, loops: loops + 1, temperature: temperature, threads: threads) }
            return Double(texts.count * loops) / max((all - cold).seconds, 1e-9)
        }.sorted()
    }

    private func measureDaemon(at endpoint: String, _ lines: TextLines) async throws {
        let texts = (0..<lines.count).map { Array(lines[$0]) }
        for connectionCount in connections.values {
            for textCount in batch.values {
                var load = ClosedLoop(
                    endpoint: endpoint, connections: connectionCount, textsPerRequest: textCount,
                    duration: .seconds(seconds / 5))
                _ = try await load.run(texts)
                load.duration = .seconds(seconds)
                let report = try await load.run(texts)
                print(
                    #"{"what":"daemon","connections":\#(connectionCount),"texts_per_request":\#(textCount),"#
                        + #""requests":\#(report.requests),"texts_per_second":\#(Int(report.textsPerSecond)),"#
                        + #""p50_us":\#(report.latencies.quantile(0.5) / 1000),"#
                        + #""p99_us":\#(report.latencies.quantile(0.99) / 1000)}"#)
            }
        }
    }
}

/// Positive numbers on a command line, separated by commas.
struct CountList: ExpressibleByArgument, ExpressibleByArrayLiteral {
    let values: [Int]

    init(arrayLiteral elements: Int...) { values = elements }

    init?(argument: String) {
        let parts = argument.split(separator: ",", omittingEmptySubsequences: false)
        values = parts.compactMap { Int($0) }.filter { (1...10_000).contains($0) }
        guard values.count == parts.count else { return nil }
    }

    var defaultValueDescription: String { values.map(String.init).joined(separator: ",") }
}
