import Annealing
import Programs
import Rules
import TestSupport
import Testing

@Suite struct ExactTests {
    private var adjacentOnly: GeneratedRules {
        var generator = GeneratedRules()
        (generator.nests, generator.hasGaps, generator.hasTriggers) = (false, false, false)
        return generator
    }

    private var sequencesOnly: GeneratedRules {
        var generator = GeneratedRules()
        generator.hasTriggers = false
        generator.pieces = 3
        generator.phrases = 3
        return generator
    }

    private func optimum(_ example: AnnealingCase) -> ExactOptimum {
        example.annealer.saturationOptimum(example.loaded, context: example.context.span)
    }

    private func intervals(_ example: AnnealingCase) -> ExactOptimum {
        example.annealer.intervalOptimum(example.loaded, context: example.context.span)
    }

    /// Least energy by trying every program that can be made: items that a rule added for are out of reach of others.
    private func leastByTrying(_ example: AnnealingCase) -> Energy {
        struct Item: Hashable { var record: UInt32, isTaken = false }
        let rules = example.annealer.rules
        func fits(_ element: PatternElement, _ item: Item) -> Bool {
            guard !item.isTaken else { return false }
            return switch element {
            case .record(let id): id == item.record
            case .pieceClass(let index): rules.classes[index].members.contains(item.record)
            }
        }
        func ends(
            _ elements: ArraySlice<PatternElement>, _ gaps: ArraySlice<UInt8>, _ at: Int, _ items: [Item]
        ) -> [Int] {
            guard let element = elements.first, at < items.count, fits(element, items[at]) else { return [] }
            guard let gap = gaps.first else { return [at] }
            return (0...Int(gap)).filter { items[(at + 1)...].prefix($0).allSatisfy { !$0.isTaken } }
                .flatMap { ends(elements.dropFirst(), gaps.dropFirst(), at + 1 + $0, items) }
        }
        var known: [[Item]: Energy] = [:]
        func least(_ items: [Item]) -> Energy {
            if let energy = known[items] { return energy }
            var best = Energy.zero
            for (id, rule) in rules.rules.enumerated() {
                guard case .sequence(let elements, let gaps) = rule.pattern else { continue }
                let cost =
                    Energy(example.annealer.options.price)
                    - Energy(rules.strength(of: id, context: example.context.span))
                for start in items.indices {
                    for last in ends(elements[...], gaps[...], start, items) {
                        var next = items
                        if rule.edit == .replace {
                            next.replaceSubrange(
                                start...last,
                                with: [Item(record: UInt32(rules.vocabularyCount) + rule.phrase)])
                        } else {
                            for index in start...last { next[index].isTaken = true }
                        }
                        best = min(best, cost + least(next))
                    }
                }
            }
            known[items] = best
            return best
        }
        return least(example.ids.map { Item(record: $0) })
    }

    @Test func `the interval programme finds what trying everything finds`() {
        let failure = forAll(seed: 71, count: 120, maximumSize: 7) { size, random in
            AnnealingCase(adjacentOnly, size: size, using: &random)
        } holds: {
            intervals($0).energy == leastByTrying($0)
        }
        #expect(failure == nil)
    }

    @Test func `saturation finds what trying everything finds, phrases of phrases and gaps included`() {
        let failure = forAll(seed: 72, count: 200, maximumSize: 6) { size, random in
            AnnealingCase(sequencesOnly, size: size, using: &random)
        } holds: {
            optimum($0).isComplete && optimum($0).energy == leastByTrying($0)
        }
        #expect(failure == nil)
    }

    @Test func `both oracles agree on long texts where both are exact`() {
        let failure = forAll(seed: 73, count: 40, maximumSize: 24) { size, random in
            AnnealingCase(adjacentOnly, size: size, using: &random)
        } holds: {
            optimum($0).isComplete && optimum($0).energy == intervals($0).energy
        }
        #expect(failure == nil)
    }

    @Test func `the edits of an optimum, made in order, have its energy`() {
        let failure = forAll(seed: 74, count: 60, maximumSize: 12) { size, random in
            AnnealingCase(sequencesOnly, size: size, using: &random)
        } holds: { example in
            // A gap may be filled in several ways, of which a match is the shortest: only adjacent rules replay.
            let best = optimum(example)
            let isAdjacent = best.edits.allSatisfy { edit in
                guard case .sequence(_, let gaps) = example.annealer.rules.rules[Int(edit.rule)].pattern
                else { return false }
                return gaps.allSatisfy { $0 == 0 }
            }
            return !isAdjacent || example.replay(best.edits)?.energy == best.energy
        }
        #expect(failure == nil)
        let intervalFailure = forAll(seed: 75, count: 200, maximumSize: 40) { size, random in
            AnnealingCase(adjacentOnly, size: size, using: &random)
        } holds: {
            $0.replay(intervals($0).edits)?.energy == intervals($0).energy
        }
        #expect(intervalFailure == nil)
    }

    @Test func `no annealing gets below the optimum`() {
        let saturation = forAll(seed: 76, count: 100, maximumSize: 12) { size, random in
            AnnealingCase(sequencesOnly, size: size, using: &random)
        } holds: {
            !optimum($0).isComplete || optimum($0).energy <= $0.run().outcome.energy
        }
        #expect(saturation == nil)
        let interval = forAll(seed: 77, count: 400, maximumSize: 60) { size, random in
            AnnealingCase(adjacentOnly, size: size, using: &random)
        } holds: {
            intervals($0).energy <= $0.run().outcome.energy
        }
        #expect(interval == nil)
    }

    @Test func `rules that only add, and never for phrases, have an exact interval programme, gaps and triggers included`() {
        var generator = GeneratedRules()
        generator.nests = false
        let failure = forAll(seed: 79, count: 300, maximumSize: 60) { size, random in
            AnnealingCase(generator, size: size, using: &random)
        } holds: { given in
            var example = given
            let rules = given.annealer.rules
            example.annealer = Annealer(
                rules: try RuleSet(
                    vocabularyCount: rules.vocabularyCount, phraseCount: rules.phraseCount,
                    contextDimensions: rules.contextDimensions, classes: rules.classes,
                    rules: rules.rules.filter { $0.edit == .add }),
                options: given.annealer.options, seed: given.annealer.seed)
            let best = intervals(example)
            return example.annealer.isIntervalExact && best.energy <= example.run().outcome.energy && example.replay(best.edits)?.energy == best.energy
        }
        #expect(failure == nil)
        var random = SeededRandom(seed: 80)
        #expect(!AnnealingCase(GeneratedRules(), size: 40, using: &random).annealer.isIntervalExact)
        #expect(AnnealingCase(adjacentOnly, size: 40, using: &random).annealer.isIntervalExact)
    }

    @Test func `a saturation that leaves out a trigger that could match is not complete`() throws {
        let rules = try RuleSet(
            vocabularyCount: 4, phraseCount: 2, classes: [PieceClass("near", [2, 5])],
            rules: [
                Rule(.adjacent(records: 0, 1), .replace, phrase: 1, worth: 1),
                Rule(.trigger(.record(3), near: 0, reach: 2), .add, phrase: 0, worth: 5),
            ])
        func isComplete(_ ids: [UInt32]) -> Bool { optimum(AnnealingCase(Annealer(rules: rules), ids)).isComplete }
        #expect(isComplete([0, 1, 2]), "the item is missing")
        #expect(isComplete([3, 1]), "nothing is near it")
        #expect(!isComplete([3, 2]))
        // The class holds the phrase that the first rule makes.
        #expect(!isComplete([0, 1, 3]))
        var random = SeededRandom(seed: 81)
        var (whole, partial) = (0, 0)
        for _ in 0..<300 {
            let example = AnnealingCase(GeneratedRules(), size: 6, using: &random)
            guard optimum(example).isComplete else { partial += 1; continue }
            whole += 1
            #expect(optimum(example).energy <= example.run().outcome.energy)
        }
        #expect(whole > 50 && partial > 5)
    }

    @Test func `a saturation that meets its limit says so, and its energy can be reached`() throws {
        var random = SeededRandom(seed: 78)
        var limits = SaturationLimits()
        limits.maximumNodes = 300
        let example = AnnealingCase(adjacentOnly, size: 25, using: &random)
        let cut = example.annealer.saturationOptimum(
            example.loaded, context: example.context.span, limits: limits)
        #expect(!cut.isComplete && cut.energy >= intervals(example).energy)
        #expect(example.replay(cut.edits)?.energy == cut.energy)
    }
}
