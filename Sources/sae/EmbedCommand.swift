import ArgumentParser
import Bytes
import Foundation
import Glibc
import SAEClient
import SAEEngine
import Vectors

/// `sae embed`: vectors of texts, in process or through a daemon.
struct EmbedCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "embed",
        abstract: "Turn texts into vectors.",
        discussion: """
            Examples:
              sae embed "A cat sat on the mat." "A dog ran."
              sae embed --input texts.txt --output vectors.npy
              zcat texts.txt.gz | sae embed --input - --format jsonl --dimensions 64
              sae embed --connect tcp://127.0.0.1:7733 "A cat sat on the mat."
              SAE_CLIENT_CONNECT=unix:/run/sae/sae.sock sae embed "A cat sat on the mat."

            A file holds one text a line and may be compressed with gzip. A line without a piece (empty, or \
            nothing but white space), or over 65,536 bytes or 16,384 pieces, is an error with its number.
            """)

    @Argument(help: "Texts to embed.")
    var texts: [String] = []

    @Option(help: ArgumentHelp("Read texts from a file, one a line; - is standard input.", valueName: "file"))
    var input: String?

    @Option(help: ArgumentHelp("Write to a file, which appears when it is whole.", valueName: "file"))
    var output: String?

    @Option(help: "npy, jsonl or text. (default: npy for an output file that ends with .npy, else text)")
    var format: EmbeddingFormat?

    @OptionGroup var engine: EngineOptions

    @OptionGroup var daemon: DaemonOptions

    @Option(help: "Leading dimensions to keep, normalised again. (default: all)")
    var dimensions: Int?

    @Option(help: temperatureHelp, transform: parsedTemperature)
    var temperature = Temperature.fitted

    @Flag(help: "Leave texts out that have no vector, and say how many.")
    var skipInvalid = false

    @Option(help: "Threads to compute on. (default: one a processor)")
    var threads: Int?

    func validate() throws {
        guard texts.isEmpty != (input == nil) else {
            throw ValidationError("give texts, or --input FILE (- for standard input)\(input == nil ? "" : ", not both")")
        }
        guard daemon.connect == nil || (engine.areDefaults && threads == nil) else {
            throw ValidationError("--model, --sweeps, --scorer, --device and --threads have no meaning with --connect")
        }
        guard daemon.connect == nil || temperature != .infinite else {
            throw ValidationError("the daemon has no infinite temperature: give one up to 16")
        }
        if let threads, !(1...256).contains(threads) { throw ValidationError("--threads is 1 to 256") }
        if let dimensions, !(1...65_536).contains(dimensions) {
            throw ValidationError("--dimensions is 1 to the model's, and never over 65,536")
        }
        guard input != "-" || fcntl(STDIN_FILENO, F_GETFD) >= 0 else { throw ValidationError("standard input is closed") }
        guard output != "" else { throw ValidationError("--output needs the name of a file") }
        guard chosenFormat != .npy || output != nil else {
            throw ValidationError("npy is written to a file: give --output FILE.npy")
        }
    }

    func run() async throws {
        if let input, let output { try checkOther(output, than: [input]) }
        let embedder = try await makeEmbedder()
        let lines = try readLines()
        var sink = try EmbeddingSink(
            format: chosenFormat, path: output, rowCount: skipInvalid ? nil : lines.count)
        var (skipped, dimensions): ([Int], Int) = ([], 0)
        // Blocks bound the memory of everything but the texts themselves, and of the vectors of an array file with --skip-invalid.
        for first in stride(from: 0, to: lines.count, by: blockCount) {
            let range = first..<min(first + blockCount, lines.count)
            let block = try await embedder.embed(lines, range)
            // 0 of a daemon that had no text to embed.
            dimensions = block.dimensions > 0 ? block.dimensions : dimensions
            for row in 0..<range.count {
                if let reason = isCut(lines, range.lowerBound + row) ? tooLong : block.errors[row] {
                    guard skipInvalid else {
                        throw CommandError.text(place: place(of: range.lowerBound + row), reason: reason)
                    }
                    skipped.append(range.lowerBound + row)
                    continue
                }
                let vector = block.vectors[row * block.dimensions..<(row + 1) * block.dimensions]
                try sink.append(
                    vector, text: lines[range.lowerBound + row], number: range.lowerBound + row + 1)
            }
        }
        if dimensions == 0 { dimensions = try await embedder.dimensions() }
        try sink.finish(columnCount: dimensions)
        if !skipped.isEmpty {
            let numbers = skipped.prefix(20).map { String($0 + 1) }.joined(separator: ", ")
            let which = "\(input == nil ? "text" : "line") \(numbers)\(skipped.count > 20 ? " and others" : "")"
            Terminal.printNote("\(skipped.count) of \(lines.count) texts have no vector and were left out: \(which)")
        }
    }

    private var chosenFormat: EmbeddingFormat { format ?? (output?.hasSuffix(".npy") == true ? .npy : .text) }

    private func makeEmbedder() async throws -> any TextEmbedder {
        if let endpoint = try endpoint() {
            return DaemonEmbedder(
                client: try await daemon.client(at: endpoint), leading: dimensions ?? 0,
                temperature: temperature.degrees ?? 0, timeout: daemon.laterWait + .seconds(60))
        }
        try daemon.checkUnused()
        let engine = try engine.open()
        if let dimensions, dimensions > engine.dimensions {
            throw CommandError.usage(
                "--dimensions \(dimensions) is more than the model's \(engine.dimensions)")
        }
        return LocalEmbedder(
            engine: engine, leading: dimensions ?? engine.dimensions, temperature: temperature,
            threads: threads ?? max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))))
    }

    /// Where the daemon is that computes, if one does: the flag, or the variable where no flag asks for this process.
    private func endpoint() throws -> String? {
        guard daemon.connect == nil, engine.areDefaults, threads == nil, temperature != .infinite else { return daemon.connect }
        let name = "SAE_CLIENT_CONNECT"
        guard let endpoint = ProcessInfo.processInfo.environment[name], !endpoint.isEmpty else { return nil }
        try DaemonOptions.check(endpoint, of: name)
        return endpoint
    }

    private func readLines() throws -> TextLines {
        var lines = TextLines()
        guard let input else {
            for text in texts { lines.append(text.utf8) }
            return lines
        }
        var reader = try LineReader(input == "-" ? "/dev/stdin" : input, maximumLineBytes: longestLine + 2, cutsLonger: true)
        var line: [UInt8] = []
        while try reader.appendNext(to: &line) {
            // The end of a line that was cut is none.
            if line.last == UInt8(ascii: "\r"), line.count < longestLine + 2 { line.removeLast() }
            lines.append(line)
            line.removeAll(keepingCapacity: true)
        }
        return lines
    }

    /// Whether a line of a file lost its end, whatever a daemon would take.
    private func isCut(_ lines: TextLines, _ index: Int) -> Bool { input != nil && lines.range(index).count > longestLine }

    private func place(of index: Int) -> String {
        guard let input else { return "text \(index + 1)" }
        return input == "-" ? "line \(index + 1) of standard input" : "\(input), line \(index + 1)"
    }
}

/// Bytes of a line of a file.
private let longestLine = TextLimits().maximumTextBytes
private let tooLong = RowStatus.tooManyBytes.reason(TextLimits()) ?? ""
/// Texts embedded at a time.
private let blockCount = 16_384
