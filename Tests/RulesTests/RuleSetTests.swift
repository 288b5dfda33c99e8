import Programs
import Rules
import TestSupport
import Testing

@Suite struct RuleSetTests {
    private let pair = Pattern.adjacent(records: 1, 2)

    private func fault(_ rule: Rule, classes: [PieceClass] = []) -> RuleError? {
        do throws(RuleError) {
            _ = try RuleSet(
                vocabularyCount: 10, phraseCount: 2, contextDimensions: 2, classes: classes,
                rules: [Rule(pair, .add, phrase: 0, worth: 1), rule])
            return nil
        } catch { return error }
    }

    @Test func `every broken condition of a rule is named, with the rule`() {
        let one = PieceClass("one", [1])
        #expect(fault(Rule(.adjacent(records: 1), .add, phrase: 0, worth: 1)) == .rule(1, .elementCount))
        #expect(
            fault(Rule(.adjacent(records: 1, 2, 3, 4, 5, 6), .add, phrase: 0, worth: 1))
                == .rule(1, .elementCount))
        #expect(
            fault(Rule(.sequence([.record(1), .record(3)], gaps: [4]), .add, phrase: 0, worth: 1))
                == .rule(1, .gap))
        #expect(
            fault(Rule(.sequence([.record(1), .record(3)], gaps: []), .add, phrase: 0, worth: 1))
                == .rule(1, .gap))
        #expect(
            fault(Rule(.sequence([.record(1), .record(3)], gaps: [1]), .replace, phrase: 0, worth: 1))
                == .rule(1, .replacesGap))
        #expect(
            fault(Rule(.trigger(.record(1), near: 0, reach: 9), .add, phrase: 0, worth: 1), classes: [one])
                == .rule(1, .reach))
        #expect(fault(Rule(.adjacent(records: 1, 12), .add, phrase: 0, worth: 1)) == .rule(1, .unknownRecord))
        #expect(fault(Rule(pair, .replace, phrase: 2, worth: 1)) == .rule(1, .unknownPhrase))
        #expect(
            fault(Rule(.trigger(.record(1), near: 0, reach: 2), .add, phrase: 0, worth: 1))
                == .rule(1, .unknownClass))
        #expect(fault(Rule(pair, .replace, phrase: 0, worth: 1, context: [1])) == .rule(1, .context))
        #expect(fault(Rule(pair, .replace, phrase: 0, worth: .nan)) == .rule(1, .notFinite))
        #expect(
            fault(Rule(pair, .replace, phrase: 0, worth: 1, context: [0, .infinity])) == .rule(1, .notFinite))
        #expect(fault(Rule(pair, .add, phrase: 0, worth: 3)) == .rule(1, .repeated))
        #expect(fault(Rule(pair, .replace, phrase: 0, worth: 1)) == nil)
    }

    @Test func `every broken condition of a class is named, with the class`() {
        let rule = Rule(pair, .replace, phrase: 0, worth: 1)
        #expect(fault(rule, classes: [PieceClass("Water", [1])]) == .pieceClass(0, .name))
        #expect(
            fault(rule, classes: [PieceClass("a", [1]), PieceClass("b", [])]) == .pieceClass(1, .emptyClass))
        #expect(fault(rule, classes: [PieceClass("a", [1, 12])]) == .pieceClass(0, .unknownRecord))
        #expect(
            fault(rule, classes: [PieceClass("a", [1]), PieceClass("a", [2])]) == .pieceClass(1, .repeated))
    }

    @Test func `an index that would be too large is refused`() {
        let everything = PieceClass("all", 0..<65_537)
        let rules = (0..<64).map {
            Rule(.adjacent([.pieceClass(0), .pieceClass(0)]), .add, phrase: $0, worth: 1)
        }
        #expect(throws: RuleError.tooMany(.postings, count: 64 * 65_537, maximum: 1 << 22)) {
            try RuleSet(vocabularyCount: 65_537, phraseCount: 64, classes: [everything], rules: rules)
        }
    }

    @Test func `the order in which rules and classes are given does not matter`() throws {
        let classes = [PieceClass("b", [1]), PieceClass("a", [2, 3])]
        let rules = [
            Rule(.adjacent([.pieceClass(0), .record(1)]), .replace, phrase: 1, worth: 1),
            Rule(.adjacent([.pieceClass(1), .record(1)]), .add, phrase: 0, worth: -0.0),
        ]
        let swapped = [
            Rule(.adjacent([.pieceClass(0), .record(1)]), .add, phrase: 0, worth: 0),
            Rule(.adjacent([.pieceClass(1), .record(1)]), .replace, phrase: 1, worth: 1),
        ]
        let first = try RuleSet(vocabularyCount: 9, phraseCount: 2, classes: classes, rules: rules)
        let second = try RuleSet(
            vocabularyCount: 9, phraseCount: 2, classes: classes.reversed(), rules: swapped)
        #expect(first == second)
        #expect(first.canonicalBytes == second.canonicalBytes)
        #expect(first.classes.map(\.name) == ["a", "b"])
    }

    /// What orders rules, straight from the definition: kind, elements (classes behind records), gaps or reach, edit, phrase.
    private func orderingNumbers(_ rule: Rule) -> [UInt32] {
        func number(_ element: PatternElement) -> UInt32 {
            switch element {
            case .record(let id): id
            case .pieceClass(let index): 1 << 31 + UInt32(index)
            }
        }
        let numbers: [UInt32]
        switch rule.pattern {
        case .sequence(let elements, let gaps): numbers = [0] + elements.map(number) + gaps.map { UInt32($0) }
        case .trigger(let element, near: let near, let reach):
            numbers = [1, number(element), number(.pieceClass(near)), UInt32(reach)]
        }
        return numbers + [UInt32(rule.edit.rawValue), rule.phrase]
    }

    @Test func `a set holds the rules that it was given, in canonical order, however they come`() {
        struct Case { var rules: RuleSet, shuffled: [Rule] }
        let generator = GeneratedRules()
        let failure = forAll(seed: 47, count: 200, maximumSize: 40) { size, random in
            let rules = generator.ruleSet(size: size, using: &random)
            return Case(rules: rules, shuffled: rules.rules.shuffled(using: &random))
        } holds: { example in
            let rules = example.rules
            let again = try RuleSet(
                vocabularyCount: rules.vocabularyCount, phraseCount: rules.phraseCount,
                contextDimensions: rules.contextDimensions, classes: rules.classes, rules: example.shuffled)
            let numbers = again.rules.map(orderingNumbers)
            return again == rules && again.canonicalBytes == rules.canonicalBytes && Set(again.rules) == Set(example.shuffled)
                && again.rules.count == example.shuffled.count
                && zip(numbers, numbers.dropFirst()).allSatisfy { $0.lexicographicallyPrecedes($1) }
        }
        #expect(failure == nil)
    }

    /// All matches, straight from the definition: every rule at every item.
    private func allMatches(_ rules: RuleSet, _ ids: [UInt32]) -> Set<RuleMatch> {
        func fits(_ element: PatternElement, _ id: UInt32) -> Bool {
            switch element {
            case .record(let record): record == id
            case .pieceClass(let index): rules.classes[index].members.contains(id)
            }
        }
        func end(_ elements: ArraySlice<PatternElement>, _ gaps: ArraySlice<UInt8>, _ start: Int) -> Int? {
            guard let element = elements.first else { return start - 1 }
            guard start < ids.count, fits(element, ids[start]) else { return nil }
            guard let gap = gaps.first else { return start }
            for skipped in 0...Int(gap) {
                if let last = end(elements.dropFirst(), gaps.dropFirst(), start + 1 + skipped) { return last }
            }
            return nil
        }
        var result = Set<RuleMatch>()
        for (id, rule) in rules.rules.enumerated() {
            for start in ids.indices {
                let last: Int?
                switch rule.pattern {
                case .sequence(let elements, let gaps): last = end(elements[...], gaps[...], start)
                case .trigger(let element, near: let near, let reach):
                    let isNear = ids.indices.contains {
                        $0 != start && abs($0 - start) <= Int(reach) && fits(.pieceClass(near), ids[$0])
                    }
                    last = isNear && fits(element, ids[start]) ? start : nil
                }
                guard let last else { continue }
                result.insert(RuleMatch(rule: UInt32(id), first: UInt32(start), last: UInt32(last)))
            }
        }
        return result
    }

    @Test func `the index finds every match once, and nothing else`() {
        struct Case { var rules: RuleSet, ids: [UInt32] }
        let generator = GeneratedRules()
        let failure = forAll(seed: 41, count: 300, maximumSize: 30) { size, random in
            Case(
                rules: generator.ruleSet(size: size, using: &random),
                ids: generator.text(size: size, using: &random))
        } holds: { example in
            var stream = ProgramStream()
            stream.load(ids: example.ids)
            var matches: [RuleMatch] = []
            var fuel = 1_000_000
            example.rules.appendMatches(
                in: stream, anchors: 0..<stream.count, maximumCount: .max, fuel: &fuel, to: &matches)
            let expected = allMatches(example.rules, example.ids)
            return matches.count == expected.count && Set(matches) == expected
                && matches.allSatisfy {
                    example.rules.items(of: $0, in: stream) == Int($0.first)..<Int($0.last) + 1
                }
        }
        #expect(failure == nil)
    }

    @Test func `a text that no rule wants costs one step a piece`() throws {
        let rules = try RuleSet(
            vocabularyCount: 100, phraseCount: 1,
            rules: (0..<20).map { Rule(.adjacent(records: 7, 50 + $0), .add, phrase: 0, worth: 1) })
        var stream = ProgramStream()
        stream.load(ids: [UInt32](repeating: 7, count: 40))
        var matches: [RuleMatch] = []
        var fuel = 1000
        rules.appendMatches(in: stream, anchors: 0..<40, maximumCount: .max, fuel: &fuel, to: &matches)
        #expect(fuel == 960 && matches.isEmpty)
    }

    @Test func `scanning stops when the fuel or the room for matches ends`() throws {
        let rules = try RuleSet(
            vocabularyCount: 9, phraseCount: 2,
            rules: (0..<2).map { Rule(.adjacent(records: 1, 1), .add, phrase: $0, worth: 1) })
        var stream = ProgramStream()
        stream.load(ids: [UInt32](repeating: 1, count: 40))
        var matches: [RuleMatch] = []
        var fuel = 1000
        rules.appendMatches(in: stream, anchors: 0..<40, maximumCount: 5, fuel: &fuel, to: &matches)
        #expect(matches.count == 5)
        matches = []
        fuel = 10
        rules.appendMatches(in: stream, anchors: 0..<40, maximumCount: .max, fuel: &fuel, to: &matches)
        #expect(fuel == 0 && matches.count < 7)
    }

    @Test func `a bid is the worth plus how well the context fits`() throws {
        let rules = try RuleSet(
            vocabularyCount: 9, phraseCount: 1, contextDimensions: 2,
            rules: [
                Rule(.adjacent(records: 1, 1), .add, phrase: 0, worth: 2),
                Rule(
                    .adjacent(records: 1, 2), .add, phrase: 0, worth: 2, coefficient: 3, offset: 0.5,
                    context: [1, -1]),
            ])
        let context: [Float] = [4, 1]
        #expect(rules.strength(of: 0, context: context.span) == 2)
        // 2 + 3 · ((4 − 1) − 0.5)
        #expect(rules.strength(of: 1, context: context.span) == 9.5)
    }
}
