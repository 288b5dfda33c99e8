import Annealing
package import Fitting
package import Models
import Programs
package import RuleLibrary
import Rules
import SAEEngine

/// Searches for rules that bring a model nearer to its teacher (algorithm.md, section 11), by evolution or by forward selection;
/// both see the same candidates, the same texts and the same refits. The model's own rules stay in force, and have the first
/// say where they apply.
///
/// Two of three fitted texts propose rules and give their vectors, the third decides, and texts held out are only reported.
/// The result depends on the texts, the model, the options and the number of rounds, and on nothing else: not on threads, nor on
/// interruptions.
package struct RuleSearch {
    /// What a search tells while it runs.
    package enum Event: Sendable {
        case stage(String)
        case round(SearchRound, of: Int, pace: SearchPace, processorSeconds: Double)
        /// A generation that is in the library now.
        case generation(Digest, name: String, ruleCount: Int, worth: Worth)
    }

    let base: Model
    let basePath: String
    let material: MiningMaterial
    let corpus: Digest
    let teacher: Digest
    let fitting: FittingOptions
    let options: SearchOptions
    let checkpoint: String?
    let observe: (Event) -> Void

    /// - Parameters:
    ///   - material: read with an engine of `base`.
    ///   - corpus, teacher: digests of its texts and vectors.
    ///   - fitting: what `material` was read with: which texts are held out.
    ///   - checkpoint: a file that is written after each round.
    package init(
        _ base: Model, path: String, material: MiningMaterial, corpus: Digest, teacher: Digest, fitting: FittingOptions,
        options: SearchOptions = SearchOptions(), checkpoint: String? = nil, observe: @escaping (Event) -> Void = { _ in }
    ) {
        self.base = base
        basePath = path
        self.material = material
        self.corpus = corpus
        self.teacher = teacher
        self.fitting = fitting
        self.options = options
        self.checkpoint = checkpoint
        self.observe = observe
    }

    /// Searches until all rounds are done, the time is used up, or forward selection gains nothing more; the generations go to
    /// the library.
    /// - Parameters:
    ///   - resumes: go on from the checkpoint.
    ///   - reports: take the best rule set apart in the end.
    ///   - now: milliseconds since 1970.
    package func run(in library: inout Library, resumes: Bool = false, reports: Bool = false, now: () -> Int64) throws -> SearchResult {
        let started = processSeconds()
        var run = try prepared()
        let begin = startGeneration
        try keep(begin, name: "start", library: &library, now)
        run.generation = begin.digest
        var spent = 0.0
        if resumes, let checkpoint {
            let stored = try SearchCheckpoint(checkpoint, identity: identity, dimensions: base.dimensions)
            spent = stored.processorSeconds
            try restore(stored, &run)
        } else {
            found(&run)
        }
        func used() -> Double { spent + processSeconds() - started }
        let clock = ContinuousClock.now
        func mark() -> SearchPace.Mark {
            SearchPace.Mark(
                round: run.round, trialCount: run.evaluationCount, seconds: (ContinuousClock.now - clock) / .seconds(1),
                processorSeconds: used())
        }
        let first = mark()
        while run.round < options.rounds, !run.isFinished {
            run.round += 1
            let count = run.champion.ruleCount
            advance(&run)
            let isDue = run.round % options.refitRounds == 0 || run.selection.map { $0.individual.ruleCount == count } ?? false
            if isDue {
                try refit(&run)
                let best = try generation(run.champion.genome, run, name: "round \(run.round)", parents: [run.generation])
                try keep(best, name: "round \(run.round)", library: &library, now)
                run.generation = best.digest
            }
            record(&run, isRefitted: isDue)
            if let checkpoint { try run.checkpoint(processorSeconds: used()).write(to: checkpoint, identity: identity) }
            if let round = run.history.last {
                let pace = SearchPace(
                    from: first, to: mark(), roundCount: options.rounds, processorLimit: options.processorSeconds)
                observe(.round(round, of: options.rounds, pace: pace, processorSeconds: used()))
            }
            if options.processorSeconds > 0, used() >= Double(options.processorSeconds) { break }
        }
        return try finish(run, begin: begin, processorSeconds: used(), reports: reports, library: &library, now)
    }

    /// What a checkpoint is of.
    private var identity: Digest {
        let text = "\(Digest(base.digest)) \(corpus) \(teacher) \(fitting.heldOutShare) \(fitting.seed)\(fitting.excluded.summary) \(options.seed) \(options.summary)"
        return Digest(of: Array(text.utf8))
    }

    /// Bases, candidates and landscapes.
    private func prepared() throws -> Run {
        let texts = material.texts
        guard texts.fitted.count >= 3, !texts.heldOut.isEmpty else {
            throw FittingError.nothingToFit(texts: texts.fitted.count, heldOut: texts.heldOut.count)
        }
        observe(.stage("embedding \(material.batch.count) texts"))
        let bases = Engine(model: base).sums(material.batch, threads: options.threadCount)
        let fitted = texts.fitted.enumerated().filter { $0.offset % 3 != 0 }.map(\.element)
        let deciding = texts.fitted.enumerated().filter { $0.offset % 3 == 0 }.map(\.element)
        observe(.stage("looking for patterns in \(fitted.count) texts"))
        let proposer = Proposer(material: texts, texts: fitted, bases: bases, options: options)
        let (proposals, classes, patternCount) = proposer.proposals()
        let pool = try CandidatePool(
            proposals, classes: classes, vocabularyCount: base.tables.vocabularyCount, shape: base.tables.shape)
        observe(.stage("\(pool.count) candidates of \(patternCount) patterns and \(classes.count) classes"))
        guard pool.count > 0 else { throw FittingError.noPatterns(texts: fitted.count, minimumCount: options.minimumCount) }
        func landscape(_ rows: [UInt32]) -> Landscape {
            var landscape = Landscape(rows, of: texts, pool: pool, own: base.phrases, threadCount: options.threadCount)
            landscape.project(pool, bases: bases, material: texts, threadCount: options.threadCount)
            return landscape
        }
        let state = SearchState(
            pool: pool, fitting: landscape(fitted), selecting: landscape(deciding),
            costs: CostModel(bytePrice: options.bytePrice, timePrice: options.timePrice))
        return Run(options: options, state: state, bases: bases, patternCount: patternCount, generation: corpus)
    }

    private func found(_ run: inout Run) {
        switch options.method {
        case .evolution: run.islands = Islands(run.state, options)
        case .greedy:
            let empty = Genome(candidateCount: run.state.pool.count)
            run.selection = ForwardSelection(run.state.individual(empty, foldCount: options.islandCount))
        }
    }

    private func restore(_ stored: SearchCheckpoint, _ run: inout Run) throws {
        let count = run.state.pool.count
        guard stored.scales.count == count, let path = checkpoint,
            (stored.living.map(\.genome) + [stored.champion.genome]).allSatisfy({ $0.members.count == (count + 63) / 64 }),
            stored.living.count == (options.method == .greedy ? 0 : options.islandCount * options.populationCount)
        else { throw FittingError.checkpoint(path: checkpoint ?? "", reason: "the checkpoint is of other candidates") }
        run.round = stored.round
        run.generation = stored.generation
        run.history = stored.history
        run.state.costs.slip = stored.slip
        run.state.pool.setVectors(
            elements: stored.elements, scales: stored.scales, worths: stored.worths, gains: stored.gains)
        observe(.stage("going on after round \(stored.round) of \(path)"))
        if let anchor = stored.anchor { try moveBases(to: anchor, &run) } else { project(&run) }
        switch options.method {
        case .evolution: run.islands = Islands(stored, run.state, options)
        case .greedy:
            var individual = run.state.individual(stored.champion.genome, foldCount: options.islandCount)
            individual.birth = stored.champion.birth
            run.selection = ForwardSelection(individual, archive: Archive(stored.archive), evaluationCount: stored.evaluationCount)
        }
    }

    private func advance(_ run: inout Run) {
        run.islands?.evolve(run.state, round: run.round)
        if var selection = run.selection {
            selection.survey(run.state, threadCount: options.threadCount)
            selection.add(options.additionCount, run.state, round: run.round)
            run.selection = selection
        }
    }

    /// Sums with the best rule set in force, and vectors for it, if by the engine they serve it better. What the products say of new
    /// vectors is not enough: the rules of a text change its gates, and vectors that promise a little more each time drift away.
    private func refit(_ run: inout Run) throws {
        let champion = run.champion
        let isFirst = run.anchor == nil
        try moveBases(to: champion.genome, &run)
        let before = run.state.individual(champion.genome, foldCount: 1)
        if isFirst, before.editCount > 0 {
            run.state.costs.slip = max(0, champion.cosine() - before.cosine()) / before.editsPerText
        }
        let old = run.state.pool
        run.state.pool = Refit(fitting: run.state.fitting, material: material.texts, bases: run.bases, options: options)
            .refitted(old, with: champion.genome)
        try moveBases(to: champion.genome, &run)
        let after = run.state.individual(champion.genome, foldCount: 1)
        if run.state.costs.fitness(after) <= run.state.costs.fitness(before) {
            run.state.pool = old
            try moveBases(to: champion.genome, &run)
        }
        run.islands?.rescore(run.state)
        run.selection?.rescore(run.state)
    }

    private func project(_ run: inout Run) {
        run.state.fitting.project(run.state.pool, bases: run.bases, material: material.texts, threadCount: options.threadCount)
        run.state.selecting.project(run.state.pool, bases: run.bases, material: material.texts, threadCount: options.threadCount)
    }

    /// Sums such that with the rules of `genome` a text has what the engine gives it: near that rule set, nothing is
    /// approximated.
    private func moveBases(to genome: Genome, _ run: inout Run) throws {
        let state = run.state
        var applied: [(row: UInt32, candidates: [Int])] = []
        var memory = Auction()
        for landscape in [state.fitting, state.selecting] {
            for text in 0..<landscape.count {
                landscape.apply(genome, to: text, state.pool, &memory)
                let row = landscape.texts[text]
                guard !memory.applied.isEmpty || run.movedRows.contains(row) else { continue }
                applied.append((row, memory.applied.map { Int(landscape.places[$0].candidate) }))
            }
        }
        run.movedRows = Set(applied.lazy.filter { !$0.candidates.isEmpty }.map(\.row))
        let engine = try engine(try generation(genome, run, name: "", parents: []))
        let sums = engine.sums(texts(applied.map(\.row)), threads: options.threadCount)
        let size = base.dimensions
        for (index, (row, candidates)) in applied.enumerated() {
            var sum = Array(sums[index * size..<(index + 1) * size])
            for candidate in candidates {
                let factor = genome.factor(state.pool.families[candidate])
                for (d, value) in zip(sum.indices, state.pool.vector(candidate)) { sum[d] -= factor * value }
            }
            run.bases.replaceSubrange(Int(row) * size..<(Int(row) + 1) * size, with: sum)
        }
        run.anchor = genome
        project(&run)
    }

    private func record(_ run: inout Run, isRefitted: Bool) {
        let islands = run.islands.map { islands in
            islands.populations.indices.map { islands.best(of: $0, run.state).cosine() }
        }
        run.history.append(
            SearchRound(
                number: run.round, islandCosines: islands ?? [run.champion.cosine()], championCosine: run.champion.cosine(),
                ruleCount: run.champion.ruleCount, editsPerText: run.champion.editsPerText,
                archiveCount: run.archive.entries.count, evaluationCount: run.evaluationCount, isRefitted: isRefitted))
    }
}

/// How a search stood after a round. Cosines are means over the deciding texts, as the search estimates them.
package struct SearchRound: Sendable, Equatable {
    package var number: Int
    /// Of the best of each island.
    package var islandCosines: [Double]
    package var championCosine: Double
    package var ruleCount: Int
    package var editsPerText: Double
    package var archiveCount: Int
    /// Rules tried so far, each on the texts that hold it.
    package var evaluationCount: Int
    package var isRefitted: Bool
}

/// Everything that changes while a search runs.
struct Run {
    let options: SearchOptions
    var state: SearchState
    var bases: [Float]
    let patternCount: Int
    /// The last one in the library.
    var generation: Digest
    var round = 0
    var islands: Islands?
    var selection: ForwardSelection?
    /// Forward selection has nothing more to add, not even after a refit.
    var isFinished: Bool {
        guard selection != nil, history.count > 2 else { return false }
        return Set(history.suffix(3).map(\.ruleCount)).count == 1
    }
    /// What `bases` were computed with, and the texts in which that has rules.
    var anchor: Genome?
    var movedRows: Set<UInt32> = []
    var history: [SearchRound] = []

    init(options: SearchOptions, state: SearchState, bases: [Float], patternCount: Int, generation: Digest) {
        (self.options, self.state, self.bases) = (options, state, bases)
        (self.patternCount, self.generation) = (patternCount, generation)
    }

    /// The best rule set of those that both methods keep.
    var champion: Individual {
        if let islands { return islands.champion }
        if let selection { return selection.individual }
        preconditionFailure("a search has not begun")
    }

    var archive: Archive { islands?.archive ?? selection?.archive ?? Archive() }
    var evaluationCount: Int { islands?.evaluationCount ?? selection?.evaluationCount ?? 0 }

    func checkpoint(processorSeconds: Double) -> SearchCheckpoint {
        SearchCheckpoint(
            round: round, processorSeconds: processorSeconds, generation: generation, pool: state.pool, anchor: anchor,
            living: islands?.populations.flatMap { $0 } ?? [], champion: champion, archive: archive,
            birthCount: islands?.birthCount ?? 0, evaluationCount: evaluationCount,
            births: islands.map { $0.births.values.sorted { $0.number < $1.number } } ?? [], slip: state.costs.slip, history: history)
    }
}
