import COpenCL

/// A device with the kernels built for it: what all threads share.
///
/// Safe as `Sendable`: contexts and programs may be used from any thread (OpenCL 1.2, section A.2); both belong to
/// this object.
final class OpenCLContext: @unchecked Sendable {
    let device: OpenCLDevice
    private let context: cl_context
    private let program: cl_program

    /// Compiles `sources`; the first time on a device that can take seconds.
    init(_ device: OpenCLDevice, sources: String) throws(ScoringError) {
        self.device = device
        var code: cl_int = 0
        var id: cl_device_id? = device.id
        guard let context = clCreateContext(nil, 1, &id, nil, nil, &code) else {
            throw .call("clCreateContext", code: code, device: device.name)
        }
        self.context = context
        let program = sources.withCString { text in
            var text: UnsafePointer<CChar>? = text
            return clCreateProgramWithSource(context, 1, &text, nil, &code)
        }
        guard let program else {
            clReleaseContext(context)
            throw .call("clCreateProgramWithSource", code: code, device: device.name)
        }
        self.program = program
        code = clBuildProgram(program, 1, &id, "-cl-std=CL1.2", nil, nil)
        guard code == CL_SUCCESS else {
            throw .build(
                device: device.name,
                log: OpenCLDevice.text {
                    clGetProgramBuildInfo(
                        program, id, cl_program_build_info(CL_PROGRAM_BUILD_LOG), $0, $1, $2)
                })
        }
    }

    deinit {
        clReleaseProgram(program)
        clReleaseContext(context)
    }

    func makeQueue() throws(ScoringError) -> OpenCLQueue {
        var code: cl_int = 0
        guard let queue = clCreateCommandQueueWithProperties(context, device.id, nil, &code) else {
            throw .call("clCreateCommandQueueWithProperties", code: code, device: device.name)
        }
        return OpenCLQueue(queue, of: self)
    }

    /// A kernel object, which holds its arguments: one a thread.
    func makeKernel(_ name: String) throws(ScoringError) -> OpenCLKernel {
        var code: cl_int = 0
        guard let kernel = clCreateKernel(program, name, &code) else {
            throw .call("clCreateKernel \(name)", code: code, device: device.name)
        }
        return OpenCLKernel(kernel, name: name, device: device.name)
    }

    func makeBuffer(byteCount: Int) throws(ScoringError) -> OpenCLBuffer {
        var code: cl_int = 0
        // An empty buffer is an error to OpenCL.
        guard
            let memory = clCreateBuffer(
                context, cl_mem_flags(CL_MEM_READ_WRITE), max(byteCount, 4), nil, &code)
        else { throw .call("clCreateBuffer of \(byteCount) bytes", code: code, device: device.name) }
        return OpenCLBuffer(memory, byteCount: byteCount)
    }

    /// A buffer with a copy of `values`.
    func makeBuffer<Element: BitwiseCopyable>(
        copying values: UnsafeBufferPointer<Element>, on queue: OpenCLQueue
    ) throws(ScoringError) -> OpenCLBuffer {
        let buffer = try makeBuffer(byteCount: values.count * MemoryLayout<Element>.stride)
        try queue.write(UnsafeRawBufferPointer(values), to: buffer)
        try queue.finish()
        return buffer
    }
}

/// Device memory.
///
/// Safe as `Sendable`: memory objects may be used from any thread; those that threads share are only read.
final class OpenCLBuffer: @unchecked Sendable {
    let memory: cl_mem
    let byteCount: Int

    fileprivate init(_ memory: cl_mem, byteCount: Int) {
        self.memory = memory
        self.byteCount = byteCount
    }

    deinit { clReleaseMemObject(memory) }
}

/// A kernel and the arguments it was given. One thread's.
final class OpenCLKernel {
    let kernel: cl_kernel
    let name: String
    private let device: String

    fileprivate init(_ kernel: cl_kernel, name: String, device: String) {
        self.kernel = kernel
        self.name = name
        self.device = device
    }

    deinit { clReleaseKernel(kernel) }

    func set(_ index: cl_uint, _ value: Int) throws(ScoringError) {
        var value = cl_uint(value)
        try check(clSetKernelArg(kernel, index, MemoryLayout<cl_uint>.size, &value))
    }

    func set(_ index: cl_uint, _ buffer: OpenCLBuffer) throws(ScoringError) {
        var memory: cl_mem? = buffer.memory
        try check(clSetKernelArg(kernel, index, MemoryLayout<cl_mem?>.size, &memory))
    }

    private func check(_ code: cl_int) throws(ScoringError) {
        guard code == CL_SUCCESS else { throw .call("clSetKernelArg of \(name)", code: code, device: device) }
    }
}
