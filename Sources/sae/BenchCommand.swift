import ArgumentParser
import Bytes
import Glibc
import LoadGeneration
import SAEClient
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

              sae bench texts.txt --connect unix:/run/sae/sae.sock --connections 8 --batch 16 --rate 500,1000,2000

            In process: the median of five runs over all texts, after one to warm up. With --connect, for --seconds \
            after a fifth of that to warm up: each connection has one request under way (a closed loop: what the \
            daemon can take); or with --rate requests are due at fixed times, and latencies count from then (an open \
            loop: what clients wait). Nothing is tried again: refused, late and failed requests are counted. A JSON \
            object a line.
            """)

    @Argument(
        help: ArgumentHelp("Texts, one a line, plain or gzip; the first 20,000 are used.", valueName: "file"))
    var file: String

    @OptionGroup var engine: EngineOptions

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

    @Option(help: ArgumentHelp("Requests a second, over all connections. (default: a closed loop)", valueName: "n,n"))
    var rate: CountList?

    @Option(help: "Milliseconds that each request is given.")
    var timeout = 10_000

    @Flag(help: "Count the answers that differ from others of the same generation to the same texts; takes some speed.")
    var verify = false

    func validate() throws {
        guard seconds > 0, seconds <= 3600 else {
            throw ValidationError("--seconds is over 0 and at most 3600")
        }
        guard (1...3_600_000).contains(timeout) else { throw ValidationError("--timeout is 1 to 3,600,000") }
        guard (threads.values + connections.values + batch.values).allSatisfy({ $0 <= 10_000 }) else {
            throw ValidationError("--threads, --connections and --batch are at most 10,000")
        }
        if daemon.connect == nil { try daemon.checkUnused() }
        guard daemon.connect != nil || rate == nil else { throw ValidationError("--rate has a meaning only with --connect") }
        guard daemon.connect != nil || !verify else { throw ValidationError("--verify has a meaning only with --connect") }
        guard daemon.connect == nil || (engine.areDefaults && temperature == .fitted) else {
            throw ValidationError("--model, --sweeps, --scorer, --device and --temperature have no meaning with --connect")
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
        let engine = try engine.open()
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
            let passes = (0..<5).map { _ in pass(engine, texts, threads: count) }
            let (rates, times) = (passes.map(\.rate).sorted(), passes.map(\.processorMicroseconds).sorted())
            print(
                #"{"what":"\#(name)","threads":\#(count),"texts":\#(texts.count),"texts_per_second":\#(Int(rates[2])),"#
                    + #""minimum":\#(Int(rates[0])),"maximum":\#(Int(rates[4])),"processor_us_per_text":\#(rounded(times[2]))}"#)
        }
    }

    /// Texts a second, and microseconds of processor time a text, of five loops, or as many as 20,000 texts take, with warm
    /// workspaces: what one loop more takes, less what one that begins cold does.
    private func pass(_ engine: Engine, _ texts: TextBatch, threads: Int) -> (rate: Double, processorMicroseconds: Double) {
        func measured(_ loops: Int) -> (elapsed: Duration, processor: Duration) {
            let before = processorTime()
            let elapsed = ContinuousClock().measure { engine.bench(texts, loops: loops, temperature: temperature, threads: threads) }
            return (elapsed, processorTime() - before)
        }
        let loops = max(5, (20_000 + texts.count - 1) / texts.count)
        let (cold, all) = (measured(1), measured(loops + 1))
        // A machine that stops in between may make the one seem longer than all: then all of it counts.
        func net(_ part: Duration, _ whole: Duration) -> Double { (whole > part ? whole - part : whole).seconds }
        let count = Double(texts.count * loops)
        return (count / net(cold.elapsed, all.elapsed), net(cold.processor, all.processor) / count * 1e6)
    }

    /// Of all threads of this process so far.
    private func processorTime() -> Duration {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
    }

    private func rounded(_ value: Double) -> Double { (value * 1_000).rounded() / 1_000 }

    private func measureDaemon(at endpoint: String, _ lines: TextLines) async throws {
        let texts = (0..<lines.count).map { Array(lines[$0]) }
        for connectionCount in connections.values {
            for textCount in batch.values {
                for rate in rate.map({ $0.values.map(Optional.some) }) ?? [nil] {
                    var load = Load(
                        endpoint: endpoint, connections: connectionCount, textsPerRequest: textCount,
                        duration: .seconds(seconds / 5))
                    load.rate = rate.map(Double.init)
                    load.timeout = .milliseconds(timeout)
                    load.connectTimeout = daemon.firstWait
                    load.access = try daemon.clientOptions(endpoint)
                    load.verifies = verify
                    _ = try await load.run(texts)
                    load.duration = .seconds(seconds)
                    try show(await load.run(texts), of: load)
                }
            }
        }
    }

    private func show(_ report: LoadReport, of load: Load) throws {
        if let failure = report.firstFailure {
            guard report.answered > 0 else { throw failure }
            Terminal.printNote("\(report.failed) requests failed, the first with: \(failure.summary)")
        }
        var row = JSONWriter()
        row.object { row in
            row.value("what", "daemon")
            row.value("loop", load.rate == nil ? "closed" : "open")
            row.value("connections", load.connections)
            row.value("texts_per_request", load.textsPerRequest)
            if let rate = load.rate { row.value("rate", Int(rate)) }
            row.value("requests", report.answered)
            row.value("texts_per_second", Int(report.textsPerSecond))
            for (name, share) in [("p50_us", 0.5), ("p90_us", 0.9), ("p99_us", 0.99), ("p999_us", 0.999), ("maximum_us", 1)] {
                row.value(name, report.latencies.quantile(share) / 1_000)
            }
            row.value("refused", report.refused)
            if report.refused > 0 { row.value("refused_p99_us", report.refusalLatencies.quantile(0.99) / 1_000) }
            row.value("late", report.late)
            row.value("failed", report.failed)
            if load.verifies {
                row.value("differing", report.differing)
                row.array("generations", report.generations) { row, seen in
                    row.object { row in
                        row.value("generation", String(seen.generation, radix: 16))
                        row.value("requests", seen.answered)
                        row.value("vectors", seen.digest.map { String($0, radix: 16) } ?? "incomplete")
                    }
                }
            }
            if load.rate != nil {
                row.value("unsent", report.unsent)
                row.value("lag_p99_us", report.lags.quantile(0.99) / 1_000)
            }
        }
        print(row.text)
    }
}

/// Positive numbers on a command line, separated by commas.
struct CountList: ExpressibleByArgument, ExpressibleByArrayLiteral {
    let values: [Int]

    init(arrayLiteral elements: Int...) { values = elements }

    init?(argument: String) {
        let parts = argument.split(separator: ",", omittingEmptySubsequences: false)
        values = parts.compactMap { Int($0) }.filter { (1...1_000_000).contains($0) }
        guard values.count == parts.count else { return nil }
    }

    var defaultValueDescription: String { values.map(String.init).joined(separator: ",") }
}
