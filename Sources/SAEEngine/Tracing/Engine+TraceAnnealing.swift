package import Annealing
import Models
import Programs
package import Rules
import Vectors

extension Trace {
    /// How the discrete rules rewrote the program (algorithm.md, section 6).
    package struct Annealing: Sendable {
        package var stop: StopReason
        /// Σ (λ − bid) of the edits that stand.
        package var energy: Double
        package var sweeps: [AnnealingTrace.Sweep]
        /// The edits that stand, in the order in which they were made.
        package var edits: [RuleMatch]
        /// By rule, for those that bid.
        package var edit: [UInt32: (kind: Edit, phrase: UInt32)]
        /// What was asked for beside it.
        package var exact: Exact?
    }

    /// The least energies that were found without annealing.
    package struct Exact: Sendable {
        /// By the interval programme: of edits that can be made to the text as it was read.
        package var interval: ExactOptimum
        /// By equality saturation: phrases of phrases too.
        package var saturation: ExactOptimum

        /// The least that is known.
        package var energy: Double { min(interval.energy, saturation.energy).value }
    }
}

extension Engine {
    /// Anneals the program of some pieces once more, as `embed` does, and tells how it went; nil for a model without
    /// discrete rules.
    func tracedAnnealing(_ ids: [UInt32], isExact: Bool) -> (Trace.Annealing)? {
        guard !model.phrases.isEmpty else { return nil }
        var stream = ProgramStream()
        stream.load(ids: ids)
        let context = annealingContext(ids)
        var exact: Trace.Exact?
        if isExact {
            exact = Trace.Exact(
                interval: annealer.intervalOptimum(stream, context: context.span),
                saturation: annealer.saturationOptimum(stream, context: context.span))
        }
        var workspace = AnnealingWorkspace()
        workspace.trace = AnnealingTrace()
        let outcome = annealer.anneal(&stream, context: context.span, using: &workspace)
        let sweeps = workspace.trace?.sweeps ?? []
        let edits = workspace.applied.map(\.match)
        let seen = sweeps.flatMap(\.bids).map(\.match) + edits + (exact.map { $0.interval.edits + $0.saturation.edits } ?? [])
        var kinds: [UInt32: (kind: Edit, phrase: UInt32)] = [:]
        for match in seen {
            let rule = model.phrases.rules[Int(match.rule)]
            kinds[match.rule] = (rule.edit, rule.phrase)
        }
        return Trace.Annealing(
            stop: outcome.stop, energy: outcome.energy.value, sweeps: sweeps, edits: edits, edit: kinds, exact: exact)
    }

    /// P x̂ of the pieces as they were read, or nothing where no rule looks at it.
    private func annealingContext(_ ids: [UInt32]) -> [Float] {
        let count = model.phrases.contextDimensions
        guard count > 0 else { return [] }
        var memory = GateMemory(shape: model.tables.shape)
        ids.withUnsafeBufferPointer { findContext(ofBag: $0, &memory) }
        return Array(memory.context.prefix(count))
    }
}
