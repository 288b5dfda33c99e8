import ArgumentParser
import Bytes
import Foundation
import KeyValueStore
import Models
import RuleLibrary
import SAEEngine
import Scoring

/// What a command needs to open an engine in its own process.
struct EngineOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Model file. (default: the one that comes with sae)", valueName: "file"))
    var model: String?

    @Option(
        help: ArgumentHelp("How often the gates are computed, 1 to 16: again from the weighted sum (default: 1).", valueName: "count"),
        transform: sweepCount)
    var sweeps: Int?

    @Option(
        help: ArgumentHelp("What scores the context rules: int8, reference, blas, opencl or auto (default: int8). See sae devices.", valueName: "name"))
    var scorer: ScorerChoice?

    @Option(help: ArgumentHelp("OpenCL device: its number, a part of its name, or auto (default: auto).", valueName: "device"))
    var device: String?

    @Option(help: ArgumentHelp("Take the rules of a generation in this rule library instead of the model's own.", valueName: "folder"))
    var library: String?

    @Option(help: "The generation: the beginning of a digest, or \"promoted\".")
    var generation = "promoted"

    func validate() throws {
        guard device == nil || scorer == .opencl || scorer == .auto else {
            throw ValidationError("--device is one of OpenCL: give --scorer opencl or auto with it")
        }
        guard library != nil || generation == "promoted" else { throw ValidationError("--generation needs --library") }
    }

    /// Whether nothing was asked for, so that a daemon may compute instead.
    var areDefaults: Bool { model == nil && library == nil && sweeps == nil && scorer == nil && device == nil }

    /// The engine; a note says so when the scorer that was asked for is not at work.
    func open() throws -> Engine {
        let environment = ProcessInfo.processInfo.environment
        let settings = ScorerSettings(
            choice: scorer ?? .int8, device: device ?? "auto", cacheDirectory: KernelCacheDirectory(environment: environment),
            probe: DeviceProbe.ofThisProgram(environment: environment))
        let path = try model ?? ResourceLocator.model()
        let engine =
            if let library { Engine(model: try rules(in: library, on: path), scorer: settings, sweepCount: sweeps ?? 1) } else {
                try Engine(contentsOf: path, scorer: settings, sweepCount: sweeps ?? 1)
            }
        if let failure = engine.scorerOpeningFailure {
            Terminal.printNote("\(failure); the CPU scores instead, with \(engine.numerics)")
        }
        return engine
    }

    private func rules(in folder: String, on path: String) throws -> Model {
        var library = try Library(folder, access: .reading)
        let (found, worth) = try library.generation(try library.digest(named: generation))
        return try found.model(on: try Model(path), worth: worth, basePath: path)
    }
}

private func sweepCount(_ argument: String) throws -> Int {
    guard let count = Int(argument), (1...16).contains(count) else { throw ValidationError("--sweeps is 1 to 16") }
    return count
}
