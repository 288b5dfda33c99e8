import COpenCL
import Synchronization

/// A device that an installed OpenCL driver offers.
///
/// Safe as `Sendable`: OpenCL's device handles are never freed for root devices and may be used from any thread.
package struct OpenCLDevice: @unchecked Sendable {
    package enum Kind: String, Sendable { case gpu, cpu, other }

    /// Its place in `all(cacheDirectory:)`, what `--device` takes.
    package let index: Int
    package let name: String
    package let platform: String
    package let kind: Kind
    package let computeUnits: Int
    /// Bytes that one buffer may have.
    let maximumBufferBytes: Int
    let id: cl_device_id

    /// Every device of every driver, in the drivers' order. Loads the drivers on the first call: with PoCL that
    /// costs about 60 MB and up to 0.2 s, so nothing calls this unless OpenCL is asked for or a GPU is present.
    ///
    /// `noDriver` where none is installed, `cacheDirectory` where compiled kernels could not be kept.
    package static func all(
        cacheDirectory: KernelCacheDirectory
    ) throws(ScoringError) -> [OpenCLDevice] {
        try discovery.withLock { _ throws(ScoringError) in
            try cacheDirectory.prepare()
            return try enumerate()
        }
    }

    /// PoCL gives no devices to a thread that asks while another one's question is initialising it.
    private static let discovery = Mutex(())

    private static func enumerate() throws(ScoringError) -> [OpenCLDevice] {
        var platformCount: cl_uint = 0
        let code = clGetPlatformIDs(0, nil, &platformCount)
        guard code == CL_SUCCESS, platformCount > 0 else {
            guard code == CL_SUCCESS || code == CL_PLATFORM_NOT_FOUND_KHR else {
                throw .call("clGetPlatformIDs", code: code, device: "the OpenCL drivers")
            }
            throw .noDriver
        }
        var platforms = [cl_platform_id?](repeating: nil, count: Int(platformCount))
        clGetPlatformIDs(platformCount, &platforms, nil)
        var devices: [OpenCLDevice] = []
        for platform in platforms {
            var count: cl_uint = 0
            // A platform without devices says so with an error, which leaves the count at 0.
            clGetDeviceIDs(platform, cl_device_type(CL_DEVICE_TYPE_ALL), 0, nil, &count)
            guard count > 0 else { continue }
            var ids = [cl_device_id?](repeating: nil, count: Int(count))
            clGetDeviceIDs(platform, cl_device_type(CL_DEVICE_TYPE_ALL), count, &ids, nil)
            let platformName = text {
                clGetPlatformInfo(platform, cl_platform_info(CL_PLATFORM_NAME), $0, $1, $2)
            }
            for case let id? in ids {
                devices.append(OpenCLDevice(id, index: devices.count, platform: platformName))
            }
        }
        return devices
    }

    /// The device with that number, or else the first whose name holds `wanted`, whatever the case; `auto` is the
    /// first GPU, or else the first device.
    package static func find(_ wanted: String, in devices: [OpenCLDevice]) throws(ScoringError)
        -> OpenCLDevice
    {
        let found: OpenCLDevice? =
            if wanted == "auto" {
                devices.first { $0.kind == .gpu } ?? devices.first
            } else if let index = Int(wanted) {
                devices.indices.contains(index) ? devices[index] : nil
            } else {
                wanted.isEmpty ? nil : devices.first { $0.name.lowercased().contains(wanted.lowercased()) }
            }
        guard let found else { throw .noDevice(wanted: wanted, present: devices.map(\.name)) }
        return found
    }

    private init(_ id: cl_device_id, index: Int, platform: String) {
        self.id = id
        self.index = index
        self.platform = platform
        name = Self.text { clGetDeviceInfo(id, cl_device_info(CL_DEVICE_NAME), $0, $1, $2) }
        let type = Self.number(id, CL_DEVICE_TYPE, as: cl_device_type.self)
        kind =
            type & cl_device_type(CL_DEVICE_TYPE_GPU) != 0
            ? .gpu : type & cl_device_type(CL_DEVICE_TYPE_CPU) != 0 ? .cpu : .other
        computeUnits = Int(Self.number(id, CL_DEVICE_MAX_COMPUTE_UNITS, as: cl_uint.self))
        maximumBufferBytes = Int(
            clamping: Self.number(id, CL_DEVICE_MAX_MEM_ALLOC_SIZE, as: cl_ulong.self))
    }

    private static func number<Value: FixedWidthInteger>(
        _ id: cl_device_id, _ parameter: Int32, as: Value.Type
    ) -> Value {
        var value: Value = 0
        clGetDeviceInfo(id, cl_device_info(parameter), MemoryLayout<Value>.size, &value, nil)
        return value
    }

    /// A text that OpenCL gives in two calls, its size first.
    static func text(
        _ query: (Int, UnsafeMutableRawPointer?, UnsafeMutablePointer<Int>?) -> cl_int
    ) -> String {
        var size = 0
        guard query(0, nil, &size) == CL_SUCCESS, size > 0 else { return "" }
        var bytes = [UInt8](repeating: 0, count: size)
        guard query(size, &bytes, nil) == CL_SUCCESS else { return "" }
        return String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
}
