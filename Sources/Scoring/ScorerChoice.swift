import Glibc

/// Which back end scores; what `model.scorer` and `--scorer` take.
package enum ScorerChoice: String, Sendable, CaseIterable {
    /// int8; on a machine with a GPU, its OpenCL device where that is measured to be faster.
    case auto
    case opencl, blas, int8, reference
}

/// What a caller may set.
package struct ScorerSettings: Sendable {
    package var choice: ScorerChoice
    /// An OpenCL device: `auto`, its number, or a part of its name.
    package var device: String
    package var cacheDirectory: KernelCacheDirectory
    /// Tries an OpenCL device before this process uses it; nil trusts the driver.
    package var probe: DeviceProbe?

    /// int8 on the CPU, which needs nothing of the machine.
    package static let cpu = ScorerSettings(choice: .int8, cacheDirectory: KernelCacheDirectory(path: ""))

    package init(
        choice: ScorerChoice = .auto, device: String = "auto", cacheDirectory: KernelCacheDirectory,
        probe: DeviceProbe? = nil
    ) {
        self.probe = probe
        self.choice = choice
        self.device = device
        self.cacheDirectory = cacheDirectory
    }
}

/// Whether OpenCL may have a GPU to offer, found without loading a driver: a machine without one must not pay 60 MB
/// for PoCL's compiler to learn it.
package struct GPUPresence {
    /// True where `deviceFolder` has a GPU's node and `vendorFolder` names a driver other than PoCL.
    package static func isLikely(deviceFolder: String = "/dev", vendorFolder: String = "/etc/OpenCL/vendors")
        -> Bool
    {
        let nodes = entries(of: deviceFolder)
        let hasNode =
            nodes.contains("kfd") || nodes.contains { $0.hasPrefix("nvidia") && $0.last?.isNumber == true }
            || entries(of: "\(deviceFolder)/dri").contains { $0.hasPrefix("renderD") }
        guard hasNode else { return false }
        return entries(of: vendorFolder).contains { $0.hasSuffix(".icd") && !$0.hasPrefix("pocl") }
    }

    private static func entries(of folder: String) -> [String] {
        guard let directory = opendir(folder) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            names.append(
                withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                })
        }
        return names
    }
}
