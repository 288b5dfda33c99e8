import Annealing
import Programs
package import Rules
import Vectors

/// How rules are mined.
package struct MiningOptions: Sendable {
    /// Texts that must hold a pattern.
    package var minimumCount = 40
    /// κ: what a pattern in n texts is worth is multiplied by n/(n + κ).
    package var shrinkage: Float = 40
    /// How many times what chance gives a pattern's squared mean must be, to be taken: |Σg|² over Σ|g|².
    package var evidence: Float = 1.5
    /// How many standard errors its mean gain on the texts of the check must be above 0, to be kept. Of rules that gain
    /// nothing, 3 lets about one in 300 pass.
    package var significance: Float = 3
    package var rounds = 4
    package var maximumRules = 8_192

    package init() {}
}

/// Rules found in texts, with the vectors of their phrases.
package struct MinedRules: Sendable {
    package var rules: RuleSet
    /// A row a phrase.
    package var phraseVectors: [Float]
    /// Patterns that were looked at, rules that mining took, rules that the check left.
    package var candidateCount: Int
    package var takenCount: Int
    package var keptCount: Int
}

/// Uses on the texts of the check that a verdict needs: of fewer, the standard error is itself too uncertain.
private let minimumChecks = 10.0

/// Mines rules that add a phrase where a pattern tells what the model misses (`algorithm.md`, section 11, the greedy
/// control): the vector of a phrase is the shrunk mean of what its texts lack.
///
/// With x the vector of a text, t its target, c = x̂·t: adding v changes the cosine by
/// g·v − h |v|²/2 with g = (t − c x̂)/|x| and h = c/|x|², to second order and leaving out the part of v along x.
/// The best v for all texts of a pattern is Σg/Σh; of its gain |Σg|²/2Σh, chance alone would give Σ|g|²/2Σh.
package struct RuleMiner {
    private let texts: TrainingTexts
    private let size: Int
    private let vocabularyCount: Int
    private let options: MiningOptions
    /// Without rules, a row a text.
    private let vectors: [Float]

    /// `vectors`: what the model makes of every text, a row a text, before or after normalising. The vectors of phrases are
    /// on the same scale: they are to be added at this point.
    package init(_ texts: TrainingTexts, vectors: [Float], vocabularyCount: Int, options: MiningOptions = MiningOptions()) {
        precondition(vectors.count == texts.count * texts.dimensions)
        self.texts = texts
        self.vectors = vectors
        self.vocabularyCount = vocabularyCount
        self.options = options
        size = texts.dimensions
    }

    /// Mines on two of three fitted texts, and checks on the third: rules whose edits do not gain there are dropped. Texts
    /// held out are not looked at.
    package func mine(_ observe: (String) -> Void = { _ in }) throws(RuleError) -> MinedRules {
        let mining = texts.fitted.filter { $0 % 3 != 0 }
        let checking = texts.fitted.filter { $0 % 3 == 0 }
        observe("counting patterns in \(mining.count) texts")
        let candidates = PatternCandidates(texts, mining, minimumCount: options.minimumCount)
        observe("\(candidates.count) patterns occur often enough")
        var rules: [Rule] = []
        var vectors: [Float] = []
        var isTaken = [Bool](repeating: false, count: candidates.count)
        for round in 0..<options.rounds where rules.count < options.maximumRules {
            let found = try gains(candidates, mining, rules, vectors)
            let room = options.maximumRules - rules.count
            let best = found.indices.filter { !isTaken[$0] && found[$0].gain > 0 }
                .sorted { (found[$0].gain, $1) > (found[$1].gain, $0) }
            // A part of the patterns a round: what the others are worth changes with those.
            let share = round + 1 == options.rounds ? best.count : (best.count + 3) / 4
            for candidate in best.prefix(min(room, share)) {
                isTaken[candidate] = true
                let pattern = found[candidate]
                rules.append(
                    Rule(
                        candidates.pattern(candidate), .add, phrase: UInt32(rules.count),
                        worth: pattern.gain / Float(pattern.count)))
                vectors.append(contentsOf: pattern.vector)
            }
            observe("round \(round + 1): \(rules.count) rules")
        }
        let taken = rules.count
        (rules, vectors) = try checked(rules, vectors, checking)
        observe("\(rules.count) rules gain on \(checking.count) texts that they were not mined from")
        return MinedRules(
            rules: try ruleSet(rules), phraseVectors: vectors, candidateCount: candidates.count, takenCount: taken,
            keptCount: rules.count)
    }

    /// How well some texts agree with their targets, without the rules or with them, and how many edits there were.
    package struct Score: Sendable {
        /// Mean of the cosine to the target.
        package var cosine = 0.0
        /// `HeldOutScore.agreement`.
        package var agreement = 0.0
        package var editsPerText = 0.0
    }

    /// The score of some texts with rules, or without any.
    package func score(of chosen: [UInt32], with mined: MinedRules?) -> Score {
        var applier = mined.map { RuleApplier($0.rules) }
        var values: [Float] = []
        var edits = 0
        for text in chosen {
            var x = vector(of: text)
            for match in applier?.edits(texts, text) ?? [] {
                guard let mined else { continue }
                add(mined.phraseVectors, mined.rules.phrase(of: Int(match.rule)), 1, to: &x)
                edits += 1
            }
            _ = normalizeRow(&x, 0..<size)
            values.append(contentsOf: x)
        }
        let targets = chosen.flatMap { texts.target(Int($0)) }
        let total = zip(values, targets).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
        let count = Double(max(1, chosen.count))
        return Score(
            cosine: total / count,
            agreement: HeldOutScore.agreement(
                Matrix(rowCount: chosen.count, columnCount: size, values: values),
                Matrix(rowCount: chosen.count, columnCount: size, values: targets)),
            editsPerText: Double(edits) / count)
    }

    private struct Gain {
        var gain: Float = 0
        var count = 0
        var vector: [Float] = []
    }

    /// What each candidate would bring in the texts where its place is free, when the rules so far are in force.
    private func gains(
        _ candidates: PatternCandidates, _ mining: [UInt32], _ rules: [Rule], _ vectors: [Float]
    ) throws(RuleError) -> [Gain] {
        var applier = RuleApplier(try ruleSet(rules))
        var slopes = [Float](repeating: 0, count: candidates.count * size)
        var squares = [Float](repeating: 0, count: candidates.count)
        var curvatures = [Float](repeating: 0, count: candidates.count)
        var counts = [Int](repeating: 0, count: candidates.count)
        for (index, text) in mining.enumerated() {
            var x = vector(of: text)
            let edits = applier.edits(texts, text)
            for match in edits { add(vectors, applier.phrase(match), 1, to: &x) }
            let state = residual(of: x, text)
            guard state.curvature > 0 else { continue }
            for place in candidates.places(of: index)
            where !edits.contains(where: { $0.first <= place.last && place.first <= $0.last }) {
                let candidate = Int(place.candidate)
                counts[candidate] += 1
                squares[candidate] += state.square
                curvatures[candidate] += state.curvature
                slopes.withUnsafeMutableBufferPointer { slopes in
                    for d in 0..<size { slopes[candidate * size + d] += state.slope[d] }
                }
            }
        }
        return (0..<candidates.count).map { candidate in
            let slope = slopes[candidate * size..<(candidate + 1) * size]
            let square = slope.reduce(Float(0)) { $0 + $1 * $1 }
            guard counts[candidate] >= options.minimumCount, square > options.evidence * squares[candidate] else {
                return Gain()
            }
            let n = Float(counts[candidate])
            // What is above chance (James and Stein's factor), and the shrinkage.
            let factor = (1 - squares[candidate] / square) * n / (n + options.shrinkage)
            return Gain(
                gain: factor * square / (2 * curvatures[candidate]), count: counts[candidate],
                vector: slope.map { $0 * factor / curvatures[candidate] })
        }
    }

    /// The rules whose edits raise the cosine of other texts, by more standard errors than `significance`.
    private func checked(
        _ rules: [Rule], _ vectors: [Float], _ checking: [UInt32]
    ) throws(RuleError) -> ([Rule], [Float]) {
        var applier = RuleApplier(try ruleSet(rules))
        var moments = [(n: Double, sum: Double, squares: Double)](repeating: (0, 0, 0), count: rules.count)
        for text in checking {
            let edits = applier.edits(texts, text)
            guard !edits.isEmpty else { continue }
            var x = vector(of: text)
            for match in edits { add(vectors, applier.phrase(match), 1, to: &x) }
            let whole = residual(of: x, text).cosine
            for match in edits {
                let phrase = applier.phrase(match)
                var without = x
                add(vectors, phrase, -1, to: &without)
                let gain = Double(whole - residual(of: without, text).cosine)
                moments[phrase].n += 1
                moments[phrase].sum += gain
                moments[phrase].squares += gain * gain
            }
        }
        var kept: ([Rule], [Float]) = ([], [])
        for rule in rules {
            let (n, sum, squares) = moments[Int(rule.phrase)]
            guard n >= minimumChecks, sum > 0 else { continue }
            let error = ((squares - sum * sum / n) / (n - 1) / n).squareRoot()
            guard sum / n > Double(options.significance) * error else { continue }
            let phrase = Int(rule.phrase)
            var rule = rule
            rule.phrase = UInt32(kept.0.count)
            rule.worth = Float(sum / n)
            kept.0.append(rule)
            kept.1.append(contentsOf: vectors[phrase * size..<(phrase + 1) * size])
        }
        return kept
    }

    private func ruleSet(_ rules: [Rule]) throws(RuleError) -> RuleSet {
        try RuleSet(vocabularyCount: vocabularyCount, phraseCount: rules.count, rules: rules)
    }

    private func vector(of text: UInt32) -> [Float] { Array(vectors[Int(text) * size..<(Int(text) + 1) * size]) }

    private func add(_ vectors: [Float], _ row: Int, _ factor: Float, to x: inout [Float]) {
        for d in 0..<size { x[d] += factor * vectors[row * size + d] }
    }

    /// g with |g|², h, and the cosine; all 0 for x = 0.
    private func residual(
        of x: [Float], _ text: UInt32
    ) -> (slope: [Float], square: Float, curvature: Float, cosine: Float) {
        var target = texts.target(Int(text))
        let norm = dot(x, x).squareRoot()
        guard norm > 0 else { return (x, 0, 0, 0) }
        let cosine = dot(x, target) / norm
        for d in 0..<size { target[d] = (target[d] - cosine * x[d] / norm) / norm }
        return (target, dot(target, target), max(0, cosine) / (norm * norm), cosine)
    }
}

/// Runs the greedy annealer over texts, for the edits that it leaves.
private struct RuleApplier {
    private let annealer: Annealer
    private var workspace = AnnealingWorkspace()
    private var stream = ProgramStream()

    init(_ rules: RuleSet) { annealer = Annealer(rules: rules) }

    func phrase(_ match: RuleMatch) -> Int { annealer.rules.phrase(of: Int(match.rule)) }

    mutating func edits(_ texts: TrainingTexts, _ text: UInt32) -> [RuleMatch] {
        guard !annealer.rules.isEmpty else { return [] }
        stream.load(ids: texts.pieces[Int(texts.starts[Int(text)])..<Int(texts.starts[Int(text) + 1])])
        let context: [Float] = []
        _ = annealer.anneal(&stream, context: context.span, using: &workspace)
        return workspace.applied.map(\.match)
    }
}
