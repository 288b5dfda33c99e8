/// The kernels of `kernels-cl/` other than `bid_scores`, a call each: what `PlainKernels` defines, on a device. Each
/// call copies its input to the device and the result back. One thread's.
package final class DeviceKernels {
    private let context: OpenCLContext
    private let queue: OpenCLQueue

    package init(_ device: OpenCLDevice) throws(ScoringError) {
        context = try OpenCLContext(device, sources: OpenCLScorer.shippedKernels)
        queue = try context.makeQueue()
    }

    /// `PlainKernels.argMax`.
    package func argMax(_ bids: [Float], ruleCount H: Int, textCount n: Int) throws(ScoringError) -> [Winner]
    {
        let kernel = try context.makeKernel("bid_arg_max")
        try kernel.set(0, H)
        return try winners(kernel, bids, H, n, each: 1)
    }

    /// `PlainKernels.topRules`; `limit` is positive.
    package func topRules(
        _ bids: [Float], ruleCount H: Int, textCount n: Int, limit: Int
    ) throws(ScoringError) -> [Winner] {
        precondition(limit > 0)
        let kernel = try context.makeKernel("bid_top_k")
        try kernel.set(0, H)
        try kernel.set(1, limit)
        return try winners(kernel, bids, H, n, each: limit, firstBuffer: 2)
    }

    /// `PlainKernels.gateEnergies`.
    package func gateEnergies(
        _ columns: GateColumns, _ batch: PieceBatch, contexts: [Float]
    ) throws(ScoringError) -> [Float] {
        precondition(contexts.count == batch.textCount * columns.rankCount)
        let owners = (0..<batch.textCount).flatMap { text in
            [UInt32](repeating: UInt32(text), count: Int(batch.starts[text + 1] - batch.starts[text]))
        }
        let inputs = [
            try buffer(batch.pieces), try buffer(owners), try buffer(batch.starts),
            try buffer(columns.biases),
            try buffer(columns.q), try buffer(columns.qScales), try buffer(columns.m),
            try buffer(columns.mScales),
            try buffer(columns.k), try buffer(columns.kScales), try buffer(contexts),
            try buffer(columns.offsets),
        ]
        let kernel = try context.makeKernel("gate_energies")
        try kernel.set(0, columns.rankCount)
        try kernel.set(1, columns.partCount)
        return try output(kernel, inputs, firstBuffer: 2, count: owners.count, width: owners.count)
    }

    /// `PlainKernels.gatherSums`.
    package func gatherSums(
        _ batch: PieceBatch, weights: [Float], rows: [Int8], scales: [Float], dimensions: Int
    ) throws(ScoringError) -> [Float] {
        let inputs = [
            try buffer(batch.pieces), try buffer(batch.starts), try buffer(weights), try buffer(rows),
            try buffer(scales),
        ]
        let kernel = try context.makeKernel("gather_sum")
        try kernel.set(0, dimensions)
        return try output(
            kernel, inputs, firstBuffer: 1, count: batch.textCount * dimensions, width: batch.textCount,
            height: (dimensions + 15) / 16)
    }

    private func winners(
        _ kernel: OpenCLKernel, _ bids: [Float], _ H: Int, _ n: Int, each limit: Int, firstBuffer: UInt32 = 1
    ) throws(ScoringError) -> [Winner] {
        precondition(bids.count == n * H)
        let rules = try context.makeBuffer(byteCount: n * limit * 4)
        let strengths: [Float] = try output(
            kernel, [try buffer(bids), rules], firstBuffer: firstBuffer, count: n * limit, width: n)
        let indices: [UInt32] = try read(rules, count: n * limit)
        return zip(indices, strengths).map(Winner.init)
    }

    /// Runs a kernel whose last argument is its output, behind `inputs`.
    private func output(
        _ kernel: OpenCLKernel, _ inputs: [OpenCLBuffer], firstBuffer: UInt32, count: Int, width: Int,
        height: Int = 1
    ) throws(ScoringError) -> [Float] {
        let result = try context.makeBuffer(byteCount: count * 4)
        for (index, buffer) in (inputs + [result]).enumerated() {
            try kernel.set(firstBuffer + UInt32(index), buffer)
        }
        try queue.run(kernel, width: width, height: height)
        return try read(result, count: count)
    }

    private func buffer<Element: BitwiseCopyable>(_ values: [Element]) throws(ScoringError) -> OpenCLBuffer {
        try values.withUnsafeBufferPointer { values throws(ScoringError) in
            try context.makeBuffer(copying: values, on: queue)
        }
    }

    private func read<Element: BitwiseCopyable & ExpressibleByIntegerLiteral>(
        _ buffer: OpenCLBuffer, count: Int
    ) throws(ScoringError) -> [Element] {
        var values = [Element](repeating: 0, count: count)
        try values.withUnsafeMutableBufferPointer { values throws(ScoringError) in
            try queue.read(buffer, into: UnsafeMutableRawBufferPointer(values))
        }
        return values
    }
}
