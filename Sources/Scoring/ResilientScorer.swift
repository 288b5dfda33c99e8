import Synchronization

/// The scorer that an engine uses: the back end that was asked for, and int8 on the CPU once that fails. Shared by
/// all threads.
///
///     let scorer = ResilientScorer(rules, settings)       // look at openingFailure, and log it
///     let session = scorer.makeSession()                  // one a thread
///     let outcome = session.fire(features, into: &fired)  // never fails; log outcome.failure where there is one
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

    /// Opens the back end that `settings` ask for. Where OpenCL cannot be opened int8 stands in. `auto` on a machine
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
            return ResilientSession(self, nil, cpu, failure: nil)
        }
        do throws(ScoringError) {
            return ResilientSession(self, try primary.makeSession(), cpu, failure: nil)
        } catch {
            return ResilientSession(self, nil, cpu, failure: noteFailure(error))
        }
    }

    fileprivate var deviceIsLost: Bool { hasFailed.load(ordering: .acquiring) }

    fileprivate var namesOfArithmetic: (primary: String, cpu: String) {
        (primary?.numerics ?? substitute.numerics, substitute.numerics)
    }

    /// The error, for the first that meets one; nil for all others.
    fileprivate func noteFailure(_ error: ScoringError) -> ScoringError? {
        hasFailed.exchange(true, ordering: .acquiringAndReleasing) ? nil : error
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

/// How a batch was scored.
package struct ScoringOutcome: Sendable, Equatable {
    /// The arithmetic of this batch.
    package let numerics: String
    /// Why the device was given up: told once, by the call that met it.
    package let failure: ScoringError?

    package init(numerics: String, failure: ScoringError?) {
        self.numerics = numerics
        self.failure = failure
    }
}

/// A thread's part of a `ResilientScorer`.
package final class ResilientSession {
    /// The session of the back end that was asked for; nil once it is given up.
    package private(set) var primary: (any BidSession)?
    private let scorer: ResilientScorer
    private let cpu: Int8Session
    private let names: (primary: String, cpu: String)
    private var untoldFailure: ScoringError?

    fileprivate init(
        _ scorer: ResilientScorer, _ primary: (any BidSession)?, _ cpu: Int8Session, failure: ScoringError?
    ) {
        self.scorer = scorer
        self.primary = primary
        self.cpu = cpu
        names = scorer.namesOfArithmetic
        untoldFailure = failure
    }

    /// `BidSession.fire`, which cannot fail here.
    package func fire(_ features: UnsafeBufferPointer<Float>, into fired: inout FiredRules) -> ScoringOutcome
    {
        if scorer.deviceIsLost { primary = nil }
        if let primary {
            do throws(ScoringError) {
                try primary.fire(features, into: &fired)
                return ScoringOutcome(numerics: names.primary, failure: nil)
            } catch {
                untoldFailure = scorer.noteFailure(error)
                self.primary = nil
            }
        }
        cpu.fire(features, into: &fired)
        defer { untoldFailure = nil }
        return ScoringOutcome(numerics: names.cpu, failure: untoldFailure)
    }
}
