package import Diagnostics
import Glibc

/// Why rules cannot be scored, or not by the back end that was asked for.
package enum ScoringError: UserFacingError, Equatable {
    /// The rules themselves are unusable: no back end takes them.
    case rules(String)
    /// No OpenCL driver is installed.
    case noDriver
    /// A driver, but no device of that name or number; `present` are those there are.
    case noDevice(wanted: String, present: [String])
    /// Compiled kernels cannot be kept: PoCL finds no device then, and says nothing.
    case cacheDirectory(path: String, errno: Int32)
    /// Others could put code there that a driver would load.
    case unsafeCacheDirectory(path: String)
    /// The driver ended the process that tried the device, or kept it for too long. `said`: its first words.
    case crash(device: String, ending: String, said: String, cache: String)
    /// The device's compiler refused the kernels.
    case build(device: String, log: String)
    /// An OpenCL call failed.
    case call(String, code: Int32, device: String)
    /// The device computes, but not what the reference does.
    case selfCheck(device: String)

    package var summary: String {
        switch self {
        case .rules(let reason): "the context rules have \(reason)"
        case .noDriver: "no OpenCL driver is installed"
        case .noDevice(let wanted, let present):
            "no OpenCL device '\(wanted)'; "
                + (present.isEmpty
                    ? "the drivers offer none" : "there are: \(present.joined(separator: ", "))")
        case .cacheDirectory(let path, let errno):
            "cannot write compiled kernels to \(path): \(String(cString: strerror(errno)))"
        case .unsafeCacheDirectory(let path):
            "compiled kernels cannot be kept in \(path): it belongs to another user, or others may write to it, and drivers "
                + "load code from there"
        case .crash(let device, let ending, let said, let cache):
            "the process that tried the OpenCL device '\(device)', with compiled kernels kept in \(cache), \(ending)"
                + (said.isEmpty ? "" : ": \(said)")
        case .build(let device, let log):
            "the kernels do not compile on \(device): \(log.prefix(400).split(whereSeparator: \.isNewline).joined(separator: " | "))"
        case .call(let name, let code, let device):
            "\(name) failed on \(device) with \(Self.name(ofCode: code))"
        case .selfCheck(let device): "\(device) computes other bids than the reference"
        }
    }

    package var remedy: String? {
        switch self {
        case .rules: "fit the model again"
        case .noDriver: "install the driver of your GPU, or pocl-opencl-icd; or use another scorer"
        case .noDevice: "choose one of these by name or number (sae devices lists them), or another scorer"
        case .cacheDirectory: "make the directory writable, or set POCL_CACHE_DIR to one that is"
        case .unsafeCacheDirectory: "own it and run chmod go-w on it, or set POCL_CACHE_DIR to another directory"
        case .crash:
            "PoCL needs ld (binutils) in PATH, and a cache (POCL_CACHE_DIR) with free space that is not mounted noexec; or use "
                + "another device or scorer"
        case .build, .call, .selfCheck: "update the device's driver, or use another device or scorer"
        }
    }

    package var category: ErrorCategory {
        switch self {
        case .rules: .corrupt
        case .cacheDirectory, .unsafeCacheDirectory: .permission
        case .noDriver, .noDevice, .crash, .build, .call, .selfCheck: .unavailable
        }
    }

    /// The usual names of OpenCL's codes (CL/cl.h).
    private static func name(ofCode code: Int32) -> String {
        let names: [Int32: String] = [
            -1: "DEVICE_NOT_FOUND", -2: "DEVICE_NOT_AVAILABLE", -4: "MEM_OBJECT_ALLOCATION_FAILURE",
            -5: "OUT_OF_RESOURCES", -6: "OUT_OF_HOST_MEMORY", -11: "BUILD_PROGRAM_FAILURE",
            -34: "INVALID_CONTEXT",
            -36: "INVALID_COMMAND_QUEUE", -38: "INVALID_MEM_OBJECT", -46: "INVALID_KERNEL_NAME",
            -54: "INVALID_WORK_GROUP_SIZE", -61: "INVALID_BUFFER_SIZE",
        ]
        return names[code].map { "CL_\($0) (\(code))" } ?? "code \(code)"
    }
}
