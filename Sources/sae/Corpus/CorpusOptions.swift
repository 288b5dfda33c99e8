import ArgumentParser
import Corpora
import Diagnostics
import Foundation
import SAEClient
import Vectors

/// What is to become of a file of texts.
struct CorpusOptions: ParsableArguments {
    enum Format: String, ExpressibleByArgument, CaseIterable { case lines, jsonl }
    enum Output: String, ExpressibleByArgument, CaseIterable { case npy, jsonl }
    enum Encoding: String, ExpressibleByArgument, CaseIterable { case f32, f16, int8, binary }

    @Option(help: "lines, or jsonl: a JSON object a line.")
    var inputFormat = Format.lines

    @Option(help: ArgumentHelp("The member of a JSON object that is the text. (default: text)", valueName: "name"))
    var textField: String?

    @Option(help: "npy, or jsonl: a JSON object a line.")
    var format = Output.npy

    @Option(help: "f32, f16, int8 (with a file of scales) or binary (a bit a dimension).")
    var encoding = Encoding.f32

    @Option(help: "Leading dimensions to keep, normalised again. (default: all)")
    var dimensions: Int?

    @Flag(help: "Cut texts that are too long, instead of giving them no vector.")
    var truncate = false

    @Flag(help: "Stop at the first line without a vector.")
    var failOnError = false

    func validate() throws {
        if let dimensions, !(1...65_536).contains(dimensions) {
            throw ValidationError("--dimensions is 1 to the model's, and never over 65,536")
        }
        if let dimensions, encoding == .binary, dimensions % 8 != 0 {
            throw ValidationError("--encoding binary needs a multiple of 8 dimensions")
        }
        guard inputFormat == .jsonl || textField == nil else { throw ValidationError("--text-field is for --input-format jsonl") }
        guard format == .npy || encoding == .f32 else { throw ValidationError("--format jsonl has the encoding f32 only") }
    }

    var wireEncoding: SAEClient.VectorEncoding {
        switch encoding {
        case .f32: .float32
        case .f16: .float16
        case .int8: .int8
        case .binary: .binary
        }
    }

    /// As a daemon's job.
    func specification(key: String) -> JobSpecification {
        var specification = JobSpecification()
        specification.key = key
        specification.input = inputFormat == .lines ? .lines : .jsonl(textField: textField ?? "text")
        specification.output = format == .npy ? .npy : .jsonl
        specification.encoding = wireEncoding
        specification.dimensions = dimensions ?? 0
        specification.truncates = truncate
        specification.failsOnError = failOnError
        return specification
    }

    /// As a plan for vectors of so many dimensions.
    func plan(modelDimensions: Int) throws -> CorpusPlan {
        if let dimensions, dimensions > modelDimensions {
            throw CommandError.usage("--dimensions \(dimensions) is more than the model's \(modelDimensions)")
        }
        var plan = CorpusPlan(dimensions: dimensions ?? modelDimensions)
        plan.input = inputFormat == .lines ? .lines : .jsonl
        plan.textField = textField ?? "text"
        plan.output = format == .npy ? .npy : .jsonl
        plan.encoding = .init(rawValue: wireEncoding.rawValue) ?? .float32
        plan.truncates = truncate
        return plan
    }
}

/// Where the daemon is, for the commands that need one.
struct RequiredDaemon: ParsableArguments {
    @OptionGroup var daemon: DaemonOptions

    func client() async throws -> Client {
        try await daemon.client(at: try endpoint())
    }

    private func endpoint() throws -> String {
        if let endpoint = daemon.connect { return endpoint }
        let name = "SAE_CLIENT_CONNECT"
        guard let endpoint = ProcessInfo.processInfo.environment[name], !endpoint.isEmpty else {
            throw ValidationError("say where the daemon is: --connect tcp://HOST:PORT or unix:PATH, or \(name)")
        }
        try DaemonOptions.check(endpoint, of: name)
        return endpoint
    }
}

/// What goes wrong with corpora and jobs.
enum CorpusError: UserFacingError {
    /// The files of an earlier run are of something else.
    case otherRun(output: String, difference: String)
    /// Another process writes them.
    case busy(output: String)
    case rowFailed(input: String, row: Int, reason: String)
    case inputChanged(String)
    case jobEnded(id: String, state: String, reason: String)
    case damagedDownload(file: String)

    var summary: String {
        switch self {
        case .otherRun(let output, let difference): "\(output) was begun with other \(difference)"
        case .busy(let output): "another sae corpus embed writes \(output)"
        case .rowFailed(let input, let row, let reason): "\(input), line \(row + 1): \(reason)"
        case .inputChanged(let input): "\(input) has changed meanwhile"
        case .jobEnded(let id, let state, let reason): "job \(id) \(state)\(reason.isEmpty ? "" : ": \(reason)")"
        case .damagedDownload(let file): "\(file) did not arrive as the daemon has it"
        }
    }

    var remedy: String? {
        switch self {
        case .otherRun: "give the same, another --output, or --restart to begin anew"
        case .busy: "wait until it ends, or give another --output"
        case .rowFailed: "correct it, or leave out --fail-on-error"
        case .inputChanged: "begin anew with --restart"
        case .jobEnded: nil
        case .damagedDownload: "fetch it again"
        }
    }

    var category: ErrorCategory {
        switch self {
        case .otherRun, .busy, .rowFailed, .inputChanged, .jobEnded: .invalidInput
        case .damagedDownload: .corrupt
        }
    }
}
