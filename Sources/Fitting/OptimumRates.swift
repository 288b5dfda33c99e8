package import Annealing
import Dispatch
import Programs
import Rules

/// How often a schedule of the annealer reaches the least energy on texts: by the interval programme where that is exact,
/// else by equality saturation.
package struct OptimumRates: Sendable {
    /// Texts that were annealed; those where a rule matches; those where greed and the optimum can differ at all,
    /// because matches overlap.
    package var texts = 0
    package var matching = 0
    package var contested = 0
    /// Texts whose saturation met its limit: left out below.
    package var unfinished = 0
    /// Texts where the least energy was reached.
    package var reached = 0
    /// Σ of the energies, and of the least ones.
    package var energy = 0.0
    package var leastEnergy = 0.0
    /// Of the matching texts that are not left out.
    package var sweeps = 0
    package var nanoseconds: UInt64 = 0

    /// Anneals each text once. Rules without context features only: there is no context here.
    package init(_ annealer: Annealer, texts: [[UInt32]]) {
        var workspace = AnnealingWorkspace()
        var stream = ProgramStream()
        let context = [Float](repeating: 0, count: annealer.rules.contextDimensions)
        let isIntervalExact = annealer.isIntervalExact
        for ids in texts {
            stream.load(ids: ids)
            let loaded = stream
            let start = DispatchTime.now().uptimeNanoseconds
            let outcome = annealer.anneal(&stream, context: context.span, using: &workspace)
            nanoseconds += DispatchTime.now().uptimeNanoseconds - start
            self.texts += 1
            guard outcome.matches > 0 else { continue }
            matching += 1
            let best =
                isIntervalExact
                ? annealer.intervalOptimum(loaded, context: context.span)
                : annealer.saturationOptimum(loaded, context: context.span)
            guard best.isComplete else {
                unfinished += 1
                continue
            }
            var matches: [RuleMatch] = []
            var fuel = Int.max
            annealer.rules.appendMatches(
                in: loaded, anchors: 0..<loaded.bodyCount, maximumCount: .max, fuel: &fuel, to: &matches)
            let isContested = matches.indices.contains { a in
                matches[(a + 1)...].contains { $0.overlaps(matches[a]) }
            }
            contested += isContested ? 1 : 0
            reached += outcome.energy == best.energy ? 1 : 0
            energy += outcome.energy.value
            leastEnergy += best.energy.value
            sweeps += outcome.sweeps
        }
    }
}
