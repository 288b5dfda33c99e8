import Dispatch
import Fitting
import Glibc
import Rules
import Vectors

/// Populations of rule sets that evolve side by side. Each island leaves a fold of the deciding texts out of its fitness, so that
/// they differ in what they see; the best migrate in a ring.
///
/// Children are made in parallel, each from random numbers of its own place, and take their places in order: the result does
/// not depend on threads.
struct Islands: Sendable {
    let options: SearchOptions
    /// Of each island, the oldest first.
    private(set) var populations: [[Individual]]
    private(set) var archive = Archive()
    private(set) var birthCount: Int
    private(set) var evaluationCount: Int
    /// Of everything alive or kept, and of its ancestors.
    private(set) var births: [Int: Individual.Birth] = [:]
    /// The best of all deciding texts so far, under the vectors in force.
    private(set) var champion: Individual

    /// Founders: on each island forward selection from a random half of the candidates, at several sizes.
    init(_ state: SearchState, _ options: SearchOptions) {
        self.options = options
        let slots = Slots<(founders: [Individual], evaluations: Int)>(count: options.islandCount)
        DispatchQueue.concurrentPerform(iterations: options.islandCount) { island in
            let open = CounterRandom(options.seed, 0xF0DE, UInt64(island))
            let empty = state.individual(Genome(candidateCount: state.pool.count), foldCount: options.islandCount)
            var selection = ForwardSelection(empty)
            selection.survey(state, threadCount: 1) { candidate in
                var coin = open.derived(UInt64(candidate))
                return coin.next() & 1 == 1
            }
            let founders = (0..<options.populationCount).map { number in
                selection.add(options.additionCount, state, round: 0)
                var founder = selection.individual
                founder.birth = Individual.Birth(number: island * options.populationCount + number, island: island)
                return founder
            }
            slots[island] = (founders, selection.evaluationCount)
        }
        let found = slots.values.compactMap { $0 }
        populations = found.map(\.founders)
        evaluationCount = found.reduce(0) { $0 + $1.evaluations }
        birthCount = options.islandCount * options.populationCount
        champion = populations[0][0]
        let founders = populations
        populations = founders.map { island in island.map { registered($0) } }
        champion = populations[0][0]
        for individual in populations.joined() { consider(individual, state) }
    }

    private mutating func registered(_ individual: Individual) -> Individual {
        var individual = individual
        (individual.birth.cosine, individual.birth.ruleCount) = (individual.cosine(), individual.ruleCount)
        births[individual.birth.number] = individual.birth
        return individual
    }

    /// Forgets those that have no offspring.
    private mutating func forgetExtinct() {
        var rest = populations.joined().map(\.birth.number) + archive.ordered.map(\.entry.birth.number) + [champion.birth.number]
        var kept: [Int: Individual.Birth] = [:]
        while let number = rest.popLast() {
            guard kept[number] == nil, let birth = births[number] else { continue }
            kept[number] = birth
            rest += birth.parents
        }
        births = kept
    }

    /// The champion and its ancestors by their first parents, the oldest first.
    var lineage: [Individual.Birth] {
        var result: [Individual.Birth] = []
        var next: Int? = champion.birth.number
        while let number = next, let birth = births[number] {
            result.append(birth)
            next = birth.parents.first
        }
        return result.reversed()
    }

    /// As they were stored between two rounds.
    init(_ checkpoint: SearchCheckpoint, _ state: SearchState, _ options: SearchOptions) {
        self.options = options
        let stored = checkpoint.living + [checkpoint.champion]
        let slots = Slots<Individual>(count: stored.count)
        DispatchQueue.concurrentPerform(iterations: stored.count) { number in
            var individual = state.individual(stored[number].genome, foldCount: options.islandCount)
            individual.birth = stored[number].birth
            slots[number] = individual
        }
        let all = slots.values.compactMap { $0 }
        let size = options.populationCount
        populations = (0..<options.islandCount).map { Array(all[$0 * size..<($0 + 1) * size]) }
        champion = all[all.count - 1]
        archive = Archive(checkpoint.archive)
        (birthCount, evaluationCount) = (checkpoint.birthCount, checkpoint.evaluationCount)
        births = Dictionary(uniqueKeysWithValues: checkpoint.births.map { ($0.number, $0) })
    }

    private mutating func consider(_ individual: Individual, _ state: SearchState) {
        archive.insert(Archive.Entry(individual))
        if state.costs.fitness(individual) > state.costs.fitness(champion) { champion = individual }
    }

    /// One round: steps on all islands, then migration.
    mutating func evolve(_ state: SearchState, round: Int) {
        for step in 0..<options.stepCount {
            let count = options.islandCount * options.broodCount
            let slots = Slots<(child: Individual, evaluations: Int)>(count: count)
            let options = options
            let (parents, elders) = (populations, archive.ordered.map(\.entry))
            DispatchQueue.concurrentPerform(iterations: count) { number in
                let island = number / options.broodCount
                var breeder = Breeder(
                    state: state, options: options, island: island, round: round,
                    random: CounterRandom(
                        options.seed, UInt64(round), UInt64(step), UInt64(number)))
                let child = breeder.child(of: parents[island], elders: elders)
                slots[number] = (child, breeder.evaluationCount)
            }
            for (number, slot) in slots.values.enumerated() {
                guard var child = slot?.child else { continue }
                evaluationCount += slot?.evaluations ?? 0
                child.birth.number = birthCount
                birthCount += 1
                child = registered(child)
                let island = number / options.broodCount
                populations[island].append(child)
                populations[island].removeFirst()
                consider(child, state)
            }
        }
        migrate(state, round: round)
        forgetExtinct()
    }

    /// The best of each island goes to the next one, in the place of the oldest there.
    private mutating func migrate(_ state: SearchState, round: Int) {
        guard options.islandCount > 1 else { return }
        let travellers = populations.indices.map { island in best(of: island, state) }
        for (island, var traveller) in travellers.enumerated() {
            let goal = (island + 1) % options.islandCount
            traveller.birth = Individual.Birth(
                number: birthCount, parents: [traveller.birth.number], operation: .migrated, round: round, island: goal)
            birthCount += 1
            traveller = registered(traveller)
            populations[goal].append(traveller)
            populations[goal].removeFirst()
        }
    }

    func best(of island: Int, _ state: SearchState) -> Individual {
        populations[island].max { state.costs.fitness($0, without: island) < state.costs.fitness($1, without: island) }
            ?? champion
    }

    /// Scores everything under other vectors. The archive begins anew with what is alive and what it held.
    mutating func rescore(_ state: SearchState) {
        let (genomes, options) = (archive.ordered.map(\.entry), options)
        let slots = Slots<Individual>(count: genomes.count + options.islandCount * options.populationCount + 1)
        let living = populations.flatMap { $0 } + [champion]
        DispatchQueue.concurrentPerform(iterations: living.count + genomes.count) { number in
            if number < living.count {
                var individual = living[number]
                individual.score(in: state.selecting, state.pool)
                slots[number] = individual
            } else {
                let entry = genomes[number - living.count]
                var individual = state.individual(entry.genome, foldCount: options.islandCount)
                individual.birth = entry.birth
                slots[number] = individual
            }
        }
        let scored = slots.values.compactMap { $0 }
        for island in populations.indices {
            populations[island] = Array(scored[island * options.populationCount..<(island + 1) * options.populationCount])
        }
        champion = scored[living.count - 1]
        archive.removeAll()
        for individual in scored { consider(individual, state) }
    }
}

/// Makes one child.
private struct Breeder {
    let state: SearchState
    let options: SearchOptions
    let island: Int
    let round: Int
    var random: CounterRandom
    var evaluationCount = 0
    private var memory = Auction()
    private var change = Individual.Change()

    init(
        state: SearchState, options: SearchOptions, island: Int, round: Int, random: CounterRandom
    ) {
        (self.state, self.options) = (state, options)
        (self.island, self.round, self.random) = (island, round, random)
    }

    mutating func child(of population: [Individual], elders: [Archive.Entry]) -> Individual {
        let draw = random.unitFloat()
        if draw < 0.2, population.count > 1 {
            return crossed(tournament(population), tournament(population))
        }
        if draw < 0.25 { return tuned(tournament(population)) }
        if draw < 0.3, !elders.isEmpty {
            let elder = elders[below(elders.count)]
            var individual = state.individual(elder.genome, foldCount: options.islandCount)
            individual.birth = elder.birth
            return mutated(individual)
        }
        return mutated(tournament(population))
    }

    private mutating func below(_ count: Int) -> Int { Int(random.next().multipliedFullWidth(by: UInt64(count)).high) }

    private mutating func tournament(_ population: [Individual]) -> Individual {
        var best = population[below(population.count)]
        for _ in 1..<max(1, options.tournamentCount) {
            let other = population[below(population.count)]
            if state.costs.fitness(other, without: island) > state.costs.fitness(best, without: island) { best = other }
        }
        return best
    }

    private func birth(_ operation: Individual.Operation, _ parents: Individual...) -> Individual.Birth {
        Individual.Birth(parents: parents.map(\.birth.number), operation: operation, round: round, island: island)
    }

    /// Rules are tried one by one and kept where they help, or hurt less than the search's temperature allows.
    private mutating func mutated(_ parent: Individual) -> Individual {
        var child = parent
        child.birth = birth(.mutated, parent)
        let members = parent.genome.candidates
        for _ in 0..<options.trialCount {
            let draw = random.unitFloat()
            if draw < 0.5 || members.isEmpty {
                try_(below(state.pool.count), &child)
            } else if draw < 0.85 {
                try_(members[below(members.count)], &child)
            } else {
                exchange(members[below(members.count)], &child)
            }
        }
        return child
    }

    private mutating func threshold() -> Double {
        let temperature = options.heat / Double(round)
        return temperature * log(Double(random.unitFloat()) + 0x1p-25)
    }

    /// Adds or drops a candidate if that helps.
    private mutating func try_(_ candidate: Int, _ child: inout Individual) {
        let family = state.pool.families[candidate]
        if !child.genome.contains(candidate),
            child.familyCounts[family.rawValue] >= Int(child.genome.budgets[family.rawValue]) { return }
        evaluate(candidate, &child)
        guard state.costs.worth(change, textCount: state.selecting.count) > threshold() else { return }
        child.apply(change, flipping: candidate, in: state.selecting, state.pool)
    }

    /// Puts a rival in the place of a rule, if the two steps together help.
    private mutating func exchange(_ candidate: Int, _ child: inout Individual) {
        let rivals = state.pool.rivals(of: candidate)
        guard child.genome.contains(candidate), let rival = rivals.isEmpty ? nil : rivals[below(rivals.count)],
            !child.genome.contains(rival)
        else { return }
        evaluate(candidate, &child)
        let before = state.costs.worth(change, textCount: state.selecting.count)
        child.apply(change, flipping: candidate, in: state.selecting, state.pool)
        evaluate(rival, &child)
        if before + state.costs.worth(change, textCount: state.selecting.count) > threshold() {
            child.apply(change, flipping: rival, in: state.selecting, state.pool)
        } else {
            evaluate(candidate, &child)
            child.apply(change, flipping: candidate, in: state.selecting, state.pool)
        }
    }

    private mutating func evaluate(_ candidate: Int, _ child: inout Individual) {
        evaluationCount += 1
        child.change(flipping: candidate, in: state.selecting, state.pool, without: island, &memory, into: &change)
    }

    /// Where the parents differ, the second one's choice is tried in the first, and kept where it helps.
    private mutating func crossed(_ first: Individual, _ second: Individual) -> Individual {
        var child = first
        child.birth = birth(.crossed, first, second)
        var differing = (0..<state.pool.count).filter { first.genome.contains($0) != second.genome.contains($0) }.map { UInt32($0) }
        shuffle(&differing, using: &random)
        for candidate in differing.prefix(options.trialCount) { try_(Int(candidate), &child) }
        return child
    }

    /// A family is made stronger or weaker, bids are ordered by something else, or a family's budget changes.
    private mutating func tuned(_ parent: Individual) -> Individual {
        var child = parent
        child.birth = birth(.tuned, parent)
        let family = RuleFamily.allCases[below(RuleFamily.allCases.count)]
        let (draw, isUp) = (random.unitFloat(), random.next() & 1 == 1)
        let bidding = Genome.Bidding.allCases[below(Genome.Bidding.allCases.count)]
        evaluationCount += 1
        if draw < 0.5 {
            child.retune(in: state.selecting, state.pool) { genome in
                let strength = genome.strengths[family.rawValue] + (isUp ? 1 : -1)
                genome.strengths[family.rawValue] = min(max(strength, Genome.strengthRange.lowerBound), Genome.strengthRange.upperBound)
            }
        } else if draw < 0.7 {
            child.retune(in: state.selecting, state.pool) { $0.bidding = bidding }
        } else {
            bound(family, isLifted: isUp, &child)
        }
        return child
    }

    /// Takes a family's budget away, or sets it to three quarters of its rules: those of the least gain go.
    private func bound(_ family: RuleFamily, isLifted: Bool, _ child: inout Individual) {
        let budget = isLifted ? Int32.max : Int32(child.familyCounts[family.rawValue] * 3 / 4)
        var rules = child.genome.candidates.filter { state.pool.families[$0] == family }
        rules.sort { (state.pool.gains[$0], $1) > (state.pool.gains[$1], $0) }
        child.retune(in: state.selecting, state.pool) { genome in
            genome.budgets[family.rawValue] = budget
        }
        guard !isLifted else { return }
        var genome = child.genome
        for candidate in rules.dropFirst(Int(budget)) { genome.flip(candidate) }
        let birth = child.birth
        child = state.individual(genome, foldCount: options.islandCount)
        child.birth = birth
    }
}
