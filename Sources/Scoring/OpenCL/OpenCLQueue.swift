import COpenCL

/// A command queue, in order. One thread's: PoCL's `basic` driver deadlocks when two share one.
final class OpenCLQueue {
    private let context: OpenCLContext
    private var queue: cl_command_queue?

    init(_ queue: cl_command_queue, of context: OpenCLContext) {
        self.queue = queue
        self.context = context
    }

    deinit { loseDevice() }

    /// Copies into device memory. `source` must stay until `finish` or a `read`.
    func write(_ source: UnsafeRawBufferPointer, to buffer: OpenCLBuffer) throws(ScoringError) {
        precondition(source.count <= buffer.byteCount)
        guard source.count > 0 else { return }
        try check(
            clEnqueueWriteBuffer(
                queue, buffer.memory, cl_bool(CL_FALSE), 0, source.count, source.baseAddress, 0, nil, nil),
            "clEnqueueWriteBuffer")
    }

    /// Waits for all that was queued, and copies out of device memory.
    func read(_ buffer: OpenCLBuffer, into target: UnsafeMutableRawBufferPointer) throws(ScoringError) {
        precondition(target.count <= buffer.byteCount)
        guard target.count > 0 else { return try finish() }
        try check(
            clEnqueueReadBuffer(
                queue, buffer.memory, cl_bool(CL_TRUE), 0, target.count, target.baseAddress, 0, nil, nil),
            "clEnqueueReadBuffer")
    }

    /// Starts a kernel over width × height work-items. On CPUs a work-group is one item, which is what PoCL's
    /// loops over work-items compile to best; a GPU's driver chooses.
    func run(_ kernel: OpenCLKernel, width: Int, height: Int = 1) throws(ScoringError) {
        guard width > 0, height > 0 else { return }
        var size = (width, height)
        var group = (1, 1)
        let code = withUnsafePointer(to: &size) { size in
            withUnsafePointer(to: &group) { group in
                size.withMemoryRebound(to: Int.self, capacity: 2) { size in
                    group.withMemoryRebound(to: Int.self, capacity: 2) { group in
                        clEnqueueNDRangeKernel(
                            queue, kernel.kernel, 2, nil, size, context.device.kind == .cpu ? group : nil, 0,
                            nil,
                            nil)
                    }
                }
            }
        }
        try check(code, "the kernel \(kernel.name)")
    }

    func finish() throws(ScoringError) { try check(clFinish(queue), "clFinish") }

    /// Gives the queue back, so that every later call fails as it does when a driver has lost its device.
    func loseDevice() {
        if let queue { clReleaseCommandQueue(queue) }
        queue = nil
    }

    private func check(_ code: cl_int, _ call: String) throws(ScoringError) {
        guard code != CL_SUCCESS else { return }
        // Commands queued before may still read the caller's memory.
        clFinish(queue)
        throw .call(call, code: code, device: context.device.name)
    }
}
