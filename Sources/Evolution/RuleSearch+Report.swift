import Fitting
import RuleLibrary
import Rules
import SAEEngine
import Vectors

extension RuleSearch {
    private static let storyCount = 12
    private static let sentenceCount = 3
    /// Texts that a story is told from, at most.
    private static let storyTextCount = 2_048
    private static let maximumCharacters = 220

    /// Takes the best rule set apart.
    func report(_ run: Run) throws -> SearchReport {
        observe(.stage("taking the best rule set apart"))
        let (state, champion) = (run.state, run.champion)
        let uses = uses(of: champion.genome, state)
        let members = champion.genome.candidates
        let families = RuleFamily.allCases.map { family in
            let own = members.filter { state.pool.families[$0] == family }
            return SearchReport.Family(
                name: family.name, ruleCount: own.count, byteCount: own.reduce(0) { $0 + state.pool.byteCounts[$1] },
                editsPerText: Double(own.reduce(0) { $0 + (uses[$1]?.count ?? 0) }) / Double(max(1, state.selecting.count)))
        }
        return SearchReport(
            candidateCount: state.pool.count, patternCount: run.patternCount, evaluationCount: run.evaluationCount,
            textCounts: (state.fitting.count, state.selecting.count, material.texts.heldOut.count),
            cells: run.archive.ordered.map { cell, entry in
                SearchReport.Cell(
                    row: cell.bytes, column: cell.time, byteCount: entry.byteCount,
                    microseconds: CostModel.microseconds(ruleCount: entry.ruleCount, editsPerText: entry.editsPerText),
                    cosine: entry.cosine, ruleCount: entry.ruleCount)
            },
            families: families, ablations: try ablations(run), stories: try stories(run, uses),
            classes: state.pool.set.classes,
            lineage: (run.islands?.lineage ?? []).map {
                SearchReport.Ancestor(
                    number: $0.number, parents: $0.parents, operation: "\($0.operation)", round: $0.round, island: $0.island,
                    cosine: $0.cosine, ruleCount: $0.ruleCount)
            })
    }

    /// Deciding texts in which each rule applies, by number.
    private func uses(of genome: Genome, _ state: SearchState) -> [Int: [Int]] {
        var uses: [Int: [Int]] = [:]
        var memory = Auction()
        for text in 0..<state.selecting.count {
            state.selecting.apply(genome, to: text, state.pool, &memory)
            for candidate in Set(memory.applied.map { Int(state.selecting.places[$0].candidate) }) {
                uses[candidate, default: []].append(text)
            }
        }
        return uses
    }

    private func ablations(_ run: Run) throws -> [SearchReport.Ablation] {
        let (pool, champion) = (run.state.pool, run.champion.genome)
        func measured(_ name: String, _ change: (inout Genome) -> Void) throws -> SearchReport.Ablation {
            var genome = champion
            change(&genome)
            let scores = scores(try engine(try generation(genome, run, name: "", parents: [])))
            return SearchReport.Ablation(
                name: name, ruleCount: genome.count, heldOutCosine: scores["held-out-cosine"] ?? 0,
                checkCosine: scores["check-cosine"] ?? 0)
        }
        func keep(_ isKept: @escaping (Int) -> Bool) -> (inout Genome) -> Void {
            { genome in for candidate in champion.candidates where !isKept(candidate) { genome.flip(candidate) } }
        }
        var result = [try measured("everything") { _ in }]
        for family in RuleFamily.allCases where champion.candidates.contains(where: { pool.families[$0] == family }) {
            result.append(try measured("without \(family.name) rules", keep { pool.families[$0] != family }))
        }
        if champion.strengths.contains(where: { $0 != 0 }) {
            result.append(try measured("every family at strength 1") { genome in genome.strengths = genome.strengths.map { _ in 0 } })
        }
        let best = Set(champion.candidates.sorted { (pool.gains[$0], $1) > (pool.gains[$1], $0) }.prefix(champion.count / 2))
        result.append(try measured("the half of the rules with the most gain", keep(best.contains)))
        result.append(try measured("no new rules", keep { _ in false }))
        return result
    }

    private func stories(_ run: Run, _ uses: [Int: [Int]]) throws -> [SearchReport.Story] {
        let state = run.state
        var (individual, memory, change) = (run.champion, Auction(), Individual.Change())
        let losses = run.champion.genome.candidates.map { candidate in
            individual.change(flipping: candidate, in: state.selecting, state.pool, without: nil, &memory, into: &change)
            return (candidate: candidate, loss: -change.cosine)
        }
        let best = losses.sorted { ($0.loss, $1.candidate) > ($1.loss, $0.candidate) }.prefix(Self.storyCount)
        let whole = try engine(try generation(run.champion.genome, run, name: "", parents: []))
        return try best.map { candidate, _ in
            let rows = (uses[candidate] ?? []).prefix(Self.storyTextCount).map { state.selecting.texts[$0] }
            var genome = run.champion.genome
            genome.flip(candidate)
            let without = try engine(try generation(genome, run, name: "", parents: []))
            let (before, after) = (cosines(without, rows), cosines(whole, rows))
            let order = rows.indices.sorted { (after[$0] - before[$0], $1) > (after[$1] - before[$1], $0) }
            let shown = order.count > Self.sentenceCount ? Array(order.prefix(Self.sentenceCount - 1)) + [order[order.count - 1]] : order
            let gain = rows.indices.reduce(0.0) { $0 + after[$1] - before[$1] } / Double(max(1, rows.count))
            return SearchReport.Story(
                pattern: state.pool.set.rules[candidate].pattern, family: state.pool.families[candidate].name,
                useCount: uses[candidate]?.count ?? 0, gain: gain,
                sentences: shown.map { index in
                    let bytes = material.batch.bytes[material.batch.range(of: Int(rows[index]))]
                    let text = String(decoding: bytes, as: UTF8.self)
                    return SearchReport.Story.Sentence(
                        text: text.count > Self.maximumCharacters ? text.prefix(Self.maximumCharacters) + "…" : text,
                        before: before[index], after: after[index])
                })
        }
    }

    private func cosines(_ engine: Engine, _ rows: [UInt32]) -> [Double] {
        let batch = engine.embed(texts(rows), threads: options.threadCount)
        return rows.enumerated().map { Double(dot(Array(batch.vector($0)), material.texts.target(Int($1)))) }
    }
}
