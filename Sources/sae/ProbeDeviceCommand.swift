import ArgumentParser
import Bytes
import Foundation
import Scoring

/// `sae probe-device`: what a `DeviceProbe` runs. Builds the kernels on a device and scores with them; whether that can be
/// done is told by the process's end alone. Hidden: `sae devices` is for people.
struct ProbeDeviceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "probe-device", abstract: "Try an OpenCL device, at the risk of the process.", shouldDisplay: false)

    @Argument(help: "The device: its number, a part of its name, or auto.")
    var device: String

    func run() throws {
        // A crash is the answer, and no case for anybody to look into.
        var none = rlimit(rlim_cur: 0, rlim_max: 0)
        setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &none)
        let cache = KernelCacheDirectory(environment: ProcessInfo.processInfo.environment)
        do throws(ScoringError) {
            let found = try OpenCLDevice.find(device, in: try OpenCLDevice.all(cacheDirectory: cache))
            _ = try OpenCLScorer(try ScorerSpeed.sampleRules(count: 512, featureCount: 320), device: found)
        } catch {
            // The process that asked meets the same error, and can tell it better.
        }
    }
}

extension DeviceProbe {
    /// This very program as the one that tries; nil where it cannot be found (no /proc), so that nothing is tried.
    static func ofThisProgram(environment: [String: String]) -> DeviceProbe? {
        guard let path = ResourceLocator.executablePath else { return nil }
        let name = ProbeDeviceCommand.configuration.commandName ?? ""
        return DeviceProbe(command: [path, name], environment: environment)
    }
}
