import CKernelSources
import Vectors

/// Bids in float32 by the kernel `bid_scores` on an OpenCL device.
package struct OpenCLScorer: BidScorer {
    /// What all sessions share: the built kernels, and the rules in device memory.
    private struct Shared: Sendable {
        let rules: BidRules
        let context: OpenCLContext
        let panels: OpenCLBuffer
        let thresholds: OpenCLBuffer
    }

    private let shared: Shared
    package let numerics: String
    package var device: OpenCLDevice { shared.context.device }

    /// What stands in `kernels-cl/`, compiled into the program.
    package static var shippedKernels: String { String(cString: sae_kernel_sources()) }

    /// Builds the kernels, copies the rules, and scores a few texts: PoCL compiles a kernel at its first run, and a
    /// device whose bids are not the reference's is refused (`selfCheck`). The first time on a device that takes
    /// 1 to 2 s with PoCL, then 0.1 s.
    /// `kernels` is the kernels' text: tests give others.
    package init(
        _ rules: BidRules, device: OpenCLDevice, kernels: String = shippedKernels
    ) throws(ScoringError) {
        let context = try OpenCLContext(device, sources: kernels)
        let queue = try context.makeQueue()
        let panels = rules.floatPanels()
        var thresholds = rules.thresholds
        thresholds += [Float](repeating: 0, count: (rules.count + 15) / 16 * 16 - rules.count)
        let thresholdBuffer: OpenCLBuffer = try thresholds.withUnsafeBufferPointer {
            values throws(ScoringError) in
            try context.makeBuffer(copying: values, on: queue)
        }
        shared = Shared(
            rules: rules, context: context,
            panels: try context.makeBuffer(
                copying: UnsafeBufferPointer(start: panels.base, count: panels.count), on: queue),
            thresholds: thresholdBuffer)
        numerics = "opencl-2:\(device.name)"
        try checkItself()
    }

    package func makeSession() throws(ScoringError) -> any BidSession { try Session(shared) }

    /// Scores seven texts, a whole tile and a part of one.
    private func checkItself() throws(ScoringError) {
        let (rules, n) = (shared.rules, 7)
        let features = (0..<n * rules.featureCount).map { Float(($0 &* 7919) % 255 - 127) / 127 }
        var bids = [Float](repeating: 0, count: n * rules.count)
        var expected = bids
        let session = try makeSession()
        let reference = ReferenceScorer(rules).makeSession()
        try features.withUnsafeBufferPointer { features throws(ScoringError) in
            try bids.withUnsafeMutableBufferPointer { bids throws(ScoringError) in
                try session.score(features, into: bids)
            }
            try expected.withUnsafeMutableBufferPointer { expected throws(ScoringError) in
                try reference.score(features, into: expected)
            }
        }
        for text in 0..<n {
            let row = features[text * rules.featureCount..<(text + 1) * rules.featureCount]
            for r in 0..<rules.count {
                let index = text * rules.count + r
                let difference = abs(bids[index] - expected[index])
                guard difference <= ReferenceScorer.tolerance(rules, rule: r, features: row) else {
                    throw .selfCheck(device: device.name)
                }
            }
        }
    }

    /// A thread's queue, kernel and buffers.
    private final class Session: DenseBidSession, DeviceSession {
        /// Texts a launch: what one launch costs is nothing against them, and their buffers stay small.
        private static let maximumTexts = 4096

        let dense = AlignedMemory<Float>(count: 0)
        var rules: BidRules { shared.rules }
        private let shared: Shared
        private let queue: OpenCLQueue
        private let kernel: OpenCLKernel
        private var capacity = 0
        private var input: OpenCLBuffer
        private var output: OpenCLBuffer

        init(_ shared: Shared) throws(ScoringError) {
            self.shared = shared
            queue = try shared.context.makeQueue()
            kernel = try shared.context.makeKernel("bid_scores")
            input = try shared.context.makeBuffer(byteCount: 0)
            output = try shared.context.makeBuffer(byteCount: 0)
            try kernel.set(1, shared.rules.featureCount)
            try kernel.set(2, shared.rules.count)
            try kernel.set(4, shared.panels)
            try kernel.set(5, shared.thresholds)
            try reserve(64)
        }

        func score(
            _ features: UnsafeBufferPointer<Float>, into bids: UnsafeMutableBufferPointer<Float>
        ) throws(ScoringError) {
            let (n, H, k) = (rules.textCount(features), rules.count, rules.featureCount)
            precondition(bids.count >= n * H)
            guard H > 0 else { return }
            let most = min(
                Self.maximumTexts, max(1, shared.context.device.maximumBufferBytes / (4 * max(H, k))))
            var begin = 0
            while begin < n {
                let count = min(n - begin, most)
                try reserve(count)
                let texts = UnsafeBufferPointer(rebasing: features[begin * k..<(begin + count) * k])
                try queue.write(UnsafeRawBufferPointer(texts), to: input)
                try kernel.set(0, count)
                try queue.run(kernel, width: (count + 5) / 6, height: (H + 15) / 16)
                let part = UnsafeMutableBufferPointer(rebasing: bids[begin * H..<(begin + count) * H])
                try queue.read(output, into: UnsafeMutableRawBufferPointer(part))
                begin += count
            }
        }

        func loseDevice() { queue.loseDevice() }

        private func reserve(_ texts: Int) throws(ScoringError) {
            guard texts > capacity else { return }
            input = try shared.context.makeBuffer(byteCount: texts * rules.featureCount * 4)
            output = try shared.context.makeBuffer(byteCount: texts * rules.count * 4)
            try kernel.set(3, input)
            try kernel.set(6, output)
            capacity = texts
        }
    }
}

/// A session on a device that can go away.
package protocol DeviceSession: BidSession {
    /// Gives the queue back, so that every later call fails as it does when a driver has lost its device. For tests
    /// of what happens then.
    func loseDevice()
}

extension BidRules {
    /// K' = element · scale in panels, [⌈H / 16⌉][k][16], padded with zeros.
    fileprivate func floatPanels() -> AlignedMemory<Float> {
        let panels = AlignedMemory<Float>(count: (count + 15) / 16 * 16 * featureCount)
        for r in 0..<count {
            let panel = panels.base + r / 16 * 16 * featureCount + r % 16
            for j in 0..<featureCount { panel[j * 16] = Float(elements[r * featureCount + j]) * scales[r] }
        }
        return panels
    }
}
