import Synchronization

/// The scorer that an engine uses: the back end that was asked for, and int8 on the CPU once that fails. Shared by
/// all threads.
///
///     let scorer = ResilientScorer(rules, settings)       // look at openingFailure, and log it
///     let session = scorer.makeSession()                  // one a thread
///     let numerics = session.fire(features, into: &fired)  // never fails
///     scorer.takeFailure()                                // why the device was given up, once: log it
///
/// Nothing is lost when a device fails: the batch under way is scored again on the CPU before the call returns. From
/// then on every session scores on the CPU, and `numerics` says so.
package final class ResilientScorer: Sendable {
    /// Why the back end that was asked for is not at work; nil where it is.
    package let openingFailure: ScoringError?
    /// The back end that was asked for; nil where that is the CPU's int8, or cannot be opened.
    private let primary: (any BidScorer)?
    private let substitute: Int8Scorer
    private let hasFailed = Atomic(false)
    private let untoldFailure = Mutex<ScoringError?>(nil)

    /// Opens the back end that `settings` ask for. Where OpenCL cannot be opened, or a process that tried it died, int8
    /// stands in. `auto` on a machine
    /// without a GPU loads no OpenCL driver.
    package convenience init(_ rules: BidRules, _ settings: ScorerSettings) {
        self.init(rules, settings, gpuIsLikely: GPUPresence.isLikely(), kernels: OpenCLScorer.shippedKernels)
    }

    /// With another answer to whether a GPU is there, and other kernels: for tests.
    package init(_ rules: BidRules, _ settings: ScorerSettings, gpuIsLikely: Bool, kernels: String) {
        substitute = Int8Scorer(rules)
        switch settings.choice {
        case .int8: (primary, openingFailure) = (nil, nil)
        case .blas: (primary, openingFailure) = (BLASScorer(rules), nil)
        case .reference: (primary, openingFailure) = (ReferenceScorer(rules), nil)
        case .auto where !gpuIsLikely: (primary, openingFailure) = (nil, nil)
        case .opencl, .auto:
            do throws(ScoringError) {
                try settings.probe?.check(device: settings.device, cacheDirectory: settings.cacheDirectory)
                let devices = try OpenCLDevice.all(cacheDirectory: settings.cacheDirectory)
                let device = try OpenCLDevice.find(settings.device, in: devices)
                if settings.choice == .opencl {
                    primary = try OpenCLScorer(rules, device: device, kernels: kernels)
                } else {
                    primary = try Self.fasterGPU(device, than: substitute, rules, kernels)
                }
                openingFailure = nil
            } catch {
                (primary, openingFailure) = (nil, error)
            }
        }
    }

    /// Names the arithmetic at work; it changes when a device fails.
    package var numerics: String {
        guard let primary, !hasFailed.load(ordering: .acquiring) else { return substitute.numerics }
        return primary.numerics
    }

    /// Names the arithmetic that takes over when a device fails.
    package var substituteNumerics: String { substitute.numerics }

    /// A session for one thread.
    package func makeSession() -> ResilientSession {
        let cpu = substitute.makeInt8Session()
        guard let primary, !hasFailed.load(ordering: .acquiring) else {
            return ResilientSession(self, nil, cpu)
        }
        do throws(ScoringError) {
            return ResilientSession(self, try primary.makeSession(), cpu)
        } catch {
            noteFailure(error)
            return ResilientSession(self, nil, cpu)
        }
    }

    fileprivate var deviceIsLost: Bool { hasFailed.load(ordering: .acquiring) }

    fileprivate var namesOfArithmetic: (primary: String, cpu: String) {
        (primary?.numerics ?? substitute.numerics, substitute.numerics)
    }

    /// Why the device that was at work was given up: the first error that any session met, told once.
    package func takeFailure() -> ScoringError? {
        guard deviceIsLost else { return nil }
        return untoldFailure.withLock { failure in
            defer { failure = nil }
            return failure
        }
    }

    fileprivate func noteFailure(_ error: ScoringError) {
        untoldFailure.withLock { failure in
            if !hasFailed.exchange(true, ordering: .acquiringAndReleasing) { failure = error }
        }
    }

    /// The device, where it is a GPU and beats the CPU at 64 texts, the size of an engine's batch. Measures 30 ms.
    private static func fasterGPU(
        _ device: OpenCLDevice, than substitute: Int8Scorer, _ rules: BidRules, _ kernels: String
    ) throws(ScoringError) -> OpenCLScorer? {
        guard device.kind == .gpu else { return nil }
        let scorer = try OpenCLScorer(rules, device: device, kernels: kernels)
        func rate(_ scorer: any BidScorer) throws(ScoringError) -> Double {
            try ScorerSpeed.textsPerSecond(
                scorer, rules, batch: 64, rounds: 2, roundDuration: .milliseconds(5))
        }
        return try rate(scorer) > rate(substitute) ? scorer : nil
    }
}

/// A thread's part of a `ResilientScorer`.
package final class ResilientSession {
    /// The session of the back end that was asked for; nil once it is given up.
    package private(set) var primary: (any BidSession)?
    private let scorer: ResilientScorer
    private let cpu: Int8Session
    private let names: (primary: String, cpu: String)

    fileprivate init(_ scorer: ResilientScorer, _ primary: (any BidSession)?, _ cpu: Int8Session) {
        self.scorer = scorer
        self.primary = primary
        self.cpu = cpu
        names = scorer.namesOfArithmetic
    }

    /// `BidSession.fire`, which cannot fail here. The name of the arithmetic that scored this batch.
    package func fire(_ features: UnsafeBufferPointer<Float>, into fired: inout FiredRules) -> String {
        if scorer.deviceIsLost { primary = nil }
        if let primary {
            do throws(ScoringError) {
                try primary.fire(features, into: &fired)
                return names.primary
            } catch {
                scorer.noteFailure(error)
                self.primary = nil
            }
        }
        cpu.fire(features, into: &fired)
        return names.cpu
    }
}
