import ArgumentParser
import Diagnostics
import Foundation
import Scoring

/// `sae devices`: what can score context rules on this machine, and how fast.
struct DevicesCommand: MatrixCommand {
    static let configuration = CommandConfiguration(
        commandName: "devices",
        abstract: "List the scorers and OpenCL devices, with their measured speed.",
        discussion: """
            Examples:
              sae devices
              sae devices --json
              sae devices --scorer opencl --device 0
              sae devices --bench

            A scorer computes how strongly the context rules bid. The speed is that of 512 rules of 320 features, \
            64 texts at a time, on one thread.
            """)

    @Flag(help: "Print JSON: one object, or with --bench one a measurement.")
    var json = false

    @Option(
        help: ArgumentHelp(
            "Open this scorer as the daemon does, and tell what is at work then: auto, opencl, blas, int8 or reference.",
            valueName: "name"))
    var scorer: ScorerChoice?

    @Option(
        help: ArgumentHelp(
            "OpenCL device of --scorer: its number, a part of its name, or auto.", valueName: "device"))
    var device: String?

    @Flag(help: "Measure every scorer with 1, 64 and 4096 texts and 256 to 4096 rules.")
    var bench = false

    func validate() throws {
        guard device == nil || scorer == .opencl || scorer == .auto else {
            throw ValidationError("--device is one of OpenCL: give --scorer opencl or auto with it")
        }
        guard !(bench && scorer != nil) else { throw ValidationError("--bench measures every scorer") }
    }

    func run() throws {
        let environment = ProcessInfo.processInfo.environment
        let cache = KernelCacheDirectory(environment: environment)
        let probe = DeviceProbe.ofThisProgram(environment: environment)
        let rules = try ScorerSpeed.sampleRules(count: 512, featureCount: 320)
        if let scorer {
            let settings = ScorerSettings(choice: scorer, device: device ?? "auto", cacheDirectory: cache, probe: probe)
            return try report(scorer, ResilientScorer(rules, settings))
        }
        let found = Found(cache, probe)
        if bench {
            for failure in [found.failure].compactMap({ $0 }) + found.failures.values { Terminal.printNote(failure) }
            return try ScorerBenchmark(devices: found.devices.filter { found.failures[$0.index] == nil }, json: json).run()
        }
        let settings = ScorerSettings(choice: .auto, cacheDirectory: cache, probe: probe)
        let report = try DevicesReport(rules, found, auto: ResilientScorer(rules, settings).numerics)
        print(try json ? JSON.line(report) : report.table)
    }

    private func report(_ choice: ScorerChoice, _ scorer: ResilientScorer) throws {
        let failure = scorer.openingFailure?.description
        if json {
            print(try JSON.line(Opened(asked: choice.rawValue, numerics: scorer.numerics, failure: failure)))
        } else {
            print("\(choice) scores with \(scorer.numerics)")
            if let failure { print("because \(failure)") }
        }
    }

    private struct Opened: Encodable {
        let asked: String
        let numerics: String
        let failure: String?
    }
}

extension ScorerChoice: ExpressibleByArgument {}

/// The OpenCL devices, or why there are none; and why a device must not be used.
private struct Found {
    var devices: [OpenCLDevice] = []
    var failure: String?
    /// By index of a device that ends the process which uses it.
    var failures: [Int: String] = [:]

    init(_ cache: KernelCacheDirectory, _ probe: DeviceProbe?) {
        do throws(ScoringError) {
            // No device has an empty name: the drivers are asked for their devices, and that is all.
            try probe?.check(device: "", cacheDirectory: cache)
            devices = try OpenCLDevice.all(cacheDirectory: cache)
        } catch {
            failure = error.description
        }
        for device in devices {
            do throws(ScoringError) {
                try probe?.check(device: "\(device.index)", cacheDirectory: cache)
            } catch { failures[device.index] = error.description }
        }
    }
}

/// What `sae devices` prints.
private struct DevicesReport: Encodable {
    struct Row: Encodable {
        let scorer: String
        /// The number that `--device` takes, for OpenCL.
        var device: Int?
        var name: String?
        var kind: String?
        var computeUnits: Int?
        var numerics: String?
        var textsPerSecond: Int?
        /// Why the device cannot score.
        var failure: String?
    }

    let rules: Int
    let features: Int
    let batch: Int
    /// The arithmetic that `auto` takes.
    let auto: String
    var scorers: [Row] = []
    /// Why no OpenCL device is listed.
    let openclFailure: String?

    init(_ rules: BidRules, _ found: Found, auto: String) throws {
        (self.rules, features, batch) = (rules.count, rules.featureCount, 64)
        (self.auto, openclFailure) = (auto, found.failure)
        for form in Int8Scorer.Form.available.reversed() {
            try add(Row(scorer: "int8", name: "\(form)"), Int8Scorer(rules, form: form), rules)
        }
        try add(Row(scorer: "blas"), BLASScorer(rules), rules)
        try add(Row(scorer: "reference"), ReferenceScorer(rules), rules)
        for device in found.devices {
            var row = Row(
                scorer: "opencl", device: device.index, name: device.name, kind: device.kind.rawValue,
                computeUnits: device.computeUnits)
            row.failure = found.failures[device.index]
            do throws(ScoringError) {
                guard row.failure == nil else { scorers.append(row); continue }
                try add(row, try OpenCLScorer(rules, device: device), rules)
            } catch {
                row.failure = error.description
                scorers.append(row)
            }
        }
    }

    private mutating func add(_ row: Row, _ scorer: any BidScorer, _ rules: BidRules) throws(ScoringError) {
        var row = row
        row.numerics = scorer.numerics
        row.textsPerSecond = Int(
            try ScorerSpeed.textsPerSecond(
                scorer, rules, batch: batch, rounds: 5, roundDuration: .milliseconds(40)))
        scorers.append(row)
    }

    var table: String {
        var lines = [["scorer", "device", "name", "kind", "units", "texts/s"]]
        for row in scorers {
            let speed = row.textsPerSecond.map(String.init) ?? "cannot score: \(row.failure ?? "")"
            lines.append([
                row.scorer, row.device.map(String.init) ?? "-", row.name ?? "-", row.kind ?? "cpu",
                row.computeUnits.map(String.init) ?? "-", speed,
            ])
        }
        let widths = (0..<6).map { column in lines.map { $0[column].count }.max() ?? 0 }
        let rows = lines.map { line in
            let cells = zip(line, widths).map { $0 + String(repeating: " ", count: $1 - $0.count) }
            return cells.joined(separator: "  ").trimmingCharacters(in: .whitespaces)
        }
        let notes =
            [
                "auto takes \(auto); \(rules) rules of \(features) features, \(batch) texts at a time, one thread"
            ]
            + (openclFailure.map { ["no OpenCL: \($0)"] } ?? [])
        return (rows + notes).joined(separator: "\n")
    }
}

/// JSON of values that know how to encode themselves.
enum JSON {
    /// One line, keys sorted.
    static func line(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        encoder.keyEncodingStrategy = .convertToSnakeCase
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }
}
