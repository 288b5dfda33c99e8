package import Programs
import Rules

/// What ends a saturation.
package struct SaturationLimits: Sendable {
    /// A program of n pieces takes about n³/6 for the ways to join it; 20,000 is enough for 48 pieces.
    package var maximumNodes = 20_000
    package var maximumRounds = 64

    package init() {}
}

extension Annealer {
    /// The least energy over all programs that the rules can make of one as it was loaded, phrases of phrases included, by
    /// equality saturation: all joinings and all rewritings of all fragments are added to an e-graph until nothing is new,
    /// then the cheapest form is taken out. Exact for rules whose patterns are sequences; triggers, which depend on items
    /// that they do not cover, are left out, and where one could match the result is not complete.
    package func saturationOptimum(
        _ stream: ProgramStream, context: Span<Float>, limits: SaturationLimits = SaturationLimits()
    ) -> ExactOptimum {
        guard stream.bodyCount > 0 else { return ExactOptimum(energy: .zero, edits: []) }
        var saturation = Saturation(
            rules: rules, records: Array(stream.operands[..<stream.bodyCount]),
            maximumNodes: limits.maximumNodes)
        let isComplete = saturation.saturate(maximumRounds: limits.maximumRounds)
        var costs: [Int: Energy] = [:]
        for rule in saturation.candidateRules {
            costs[rule] = price - Energy(rules.strength(of: rule, context: context))
        }
        let forms = CheapestForms(saturation, costs: costs)
        return ExactOptimum(energy: forms.energy, edits: forms.edits, isComplete: isComplete && !saturation.mayTrigger)
    }
}

/// Fills the e-graph of one program.
struct Saturation {
    typealias Node = EqualityGraph.Node
    typealias Item = EqualityGraph.Item
    typealias ClassID = EqualityGraph.ClassID

    private struct Candidate {
        var rule: Int
        var edit: Edit
        var elements: [PatternElement]
        var gaps: [UInt8]
    }

    private let rules: RuleSet
    private let records: [UInt32]
    private let maximumNodes: Int
    private var candidates: [Candidate] = []
    private(set) var graph = EqualityGraph()
    private(set) var root: ClassID

    init(rules: RuleSet, records: [UInt32], maximumNodes: Int) {
        self.rules = rules
        self.records = records
        self.maximumNodes = maximumNodes
        root = graph.add(.piece(at: 0))
        for place in records.indices.dropFirst() {
            let piece = graph.add(.piece(at: place))
            root = graph.add(.join(root, piece))
        }
        findCandidates()
    }

    /// The rules that may play a part.
    var candidateRules: [Int] { candidates.map(\.rule) }

    /// Whether a trigger could match in the program or in what sequences make of it: its item, and one of the class near
    /// it, can be there.
    private(set) var mayTrigger = false

    private var isFull: Bool { graph.nodeCount >= maximumNodes }

    /// Adds forms until there are no new ones; false when a limit came first.
    mutating func saturate(maximumRounds: Int) -> Bool {
        guard !candidates.isEmpty else { return true }
        for _ in 0..<maximumRounds {
            var isNew = false
            for id in graph.classes {
                if associate(id) { isNew = true }
                if rewrite(id) { isNew = true }
            }
            graph.rebuild()
            if isFull { return false }
            if !isNew { return true }
        }
        return false
    }

    /// (a b) c is also a (b c). The program begins as ((a b) c) d …, from which this alone reaches all ways to join.
    ///
    /// A fragment that is new is associated before the one around it goes on, so that it has all its forms when it is met
    /// again: it would otherwise be made again from each of them, and from those of what is made of it.
    private mutating func associate(_ id: ClassID) -> Bool {
        var isNew = false
        for case .join(let left, let right) in graph.forms(of: id) {
            for case .join(let first, let second) in graph.forms(of: left) where !isFull {
                let nodeCount = graph.nodeCount
                let rest = graph.add(.join(second, right))
                if graph.nodeCount > nodeCount { _ = associate(rest) }
                if graph.add(.join(first, rest), to: id) { isNew = true }
            }
        }
        return isNew
    }

    private mutating func rewrite(_ id: ClassID) -> Bool {
        var isNew = false
        for candidate in candidates {
            for items in coverings(of: id, by: candidate, from: 0) where !isFull {
                let node: Node =
                    switch candidate.edit {
                    case .replace: .phrase(rule: candidate.rule, items)
                    case .add: .covered(rule: candidate.rule, items)
                    }
                if graph.add(node, to: id) { isNew = true }
            }
        }
        return isNew
    }

    /// The ways in which a fragment is a row of items that fit elements `element...` of a rule.
    private func coverings(of id: ClassID, by candidate: Candidate, from element: Int) -> [[Item]] {
        guard element < candidate.gaps.count else {
            return items(of: id, fitting: candidate.elements[element]).map { [$0] }
        }
        var result: [[Item]] = []
        for case .join(let first, let rest) in graph.forms(of: id) {
            let heads = items(of: first, fitting: candidate.elements[element])
            guard !heads.isEmpty else { continue }
            let tails = skipping(Int(candidate.gaps[element]), in: rest) {
                coverings(of: $0, by: candidate, from: element + 1)
            }
            for head in heads { result += tails.map { [head] + $0 } }
        }
        return result
    }

    /// The rows of a fragment, and those of what is left of it after up to `count` items of any kind.
    private func skipping(_ count: Int, in id: ClassID, _ rows: (ClassID) -> [[Item]]) -> [[Item]] {
        var result = rows(id)
        guard count > 0 else { return result }
        for case .join(let first, let rest) in graph.forms(of: id)
        where graph.forms(of: first).contains(where: { record(of: $0) != nil }) {
            let skipped = Item(fragment: first, record: nil)
            result += skipping(count - 1, in: rest, rows).map { [skipped] + $0 }
        }
        return result
    }

    private func items(of id: ClassID, fitting element: PatternElement) -> [Item] {
        var result: [Item] = []
        for node in graph.forms(of: id) {
            guard let record = record(of: node), fits(record, element) else { continue }
            let item = Item(fragment: graph.find(id), record: record)
            if !result.contains(item) { result.append(item) }
        }
        return result
    }

    /// The record of a form that is one item.
    func record(of node: Node) -> UInt32? {
        switch node {
        case .piece(let place): records[place]
        case .phrase(let rule, _): rules.facts[rule].record
        case .join, .covered: nil
        }
    }

    private func fits(_ record: UInt32, _ element: PatternElement) -> Bool {
        switch element {
        case .record(let id): id == record
        case .pieceClass(let index): rules.classes[index].members.contains(record)
        }
    }

    /// The rules whose elements are all among the pieces of the text and the phrases that such rules can make.
    private mutating func findCandidates() {
        var available = Set(records)
        var remaining: [Candidate] = rules.rules.enumerated().compactMap { id, rule in
            guard case .sequence(let elements, let gaps) = rule.pattern else { return nil }
            return Candidate(rule: id, edit: rule.edit, elements: elements, gaps: gaps)
        }
        func isAvailable(_ element: PatternElement) -> Bool {
            switch element {
            case .record(let id): available.contains(id)
            case .pieceClass(let index): rules.classes[index].members.contains(where: available.contains)
            }
        }
        while true {
            let split = remaining.partition { $0.elements.allSatisfy(isAvailable) }
            if split == remaining.endIndex { break }
            for candidate in remaining[split...] where candidate.edit == .replace {
                available.insert(rules.facts[candidate.rule].record)
            }
            candidates += remaining[split...]
            remaining.removeSubrange(split...)
        }
        mayTrigger = rules.rules.contains { rule in
            guard case .trigger(let item, let near, _) = rule.pattern else { return false }
            return isAvailable(item) && isAvailable(.pieceClass(near))
        }
    }
}

/// The cheapest form of every class and of every item, and the edits of the whole program's.
private struct CheapestForms {
    typealias Node = EqualityGraph.Node
    typealias Item = EqualityGraph.Item

    private let saturation: Saturation
    private let costs: [Int: Energy]
    private var fragments: [EqualityGraph.ClassID: (energy: Energy, form: Node)] = [:]
    private var items: [Item: (energy: Energy, form: Node)] = [:]
    private(set) var edits: [RuleMatch] = []

    var energy: Energy { fragments[saturation.graph.find(saturation.root)]?.energy ?? .zero }

    /// Lets the energies of forms fall until none does. What a form refers to is a shorter stretch, so this
    /// ends.
    init(_ saturation: Saturation, costs: [Int: Energy]) {
        self.saturation = saturation
        self.costs = costs
        let classes = saturation.graph.classes
        var isFalling = true
        while isFalling {
            isFalling = false
            for id in classes {
                for form in saturation.graph.forms(of: id) where lower(form, of: id) { isFalling = true }
            }
        }
        _ = collect(fragment: saturation.root)
    }

    private mutating func lower(_ form: Node, of id: EqualityGraph.ClassID) -> Bool {
        guard let energy = energy(of: form) else { return false }
        var hasFallen = false
        if fragments[id].map({ energy < $0.energy }) ?? true {
            fragments[id] = (energy, form)
            hasFallen = true
        }
        guard let record = saturation.record(of: form) else { return hasFallen }
        for item in [Item(fragment: id, record: record), Item(fragment: id, record: nil)]
        where items[item].map({ energy < $0.energy }) ?? true {
            items[item] = (energy, form)
            hasFallen = true
        }
        return hasFallen
    }

    /// nil while something that the form refers to has no energy yet.
    private func energy(of form: Node) -> Energy? {
        switch form {
        case .piece: return .zero
        case .join(let left, let right):
            guard let left = fragments[saturation.graph.find(left)],
                let right = fragments[saturation.graph.find(right)]
            else { return nil }
            return left.energy + right.energy
        case .phrase(let rule, let parts), .covered(let rule, let parts):
            var sum = costs[rule] ?? .zero
            for part in parts {
                guard let part = items[canonical(part)] else { return nil }
                sum += part.energy
            }
            return sum
        }
    }

    private func canonical(_ item: Item) -> Item {
        Item(fragment: saturation.graph.find(item.fragment), record: item.record)
    }

    /// Appends the edits of a fragment's cheapest form, inner ones first; the pieces it stands for.
    private mutating func collect(fragment: EqualityGraph.ClassID) -> ClosedRange<Int> {
        guard let form = fragments[saturation.graph.find(fragment)]?.form else { return 0...0 }
        return collect(form)
    }

    private mutating func collect(_ form: Node) -> ClosedRange<Int> {
        switch form {
        case .piece(let place): return place...place
        case .join(let left, let right):
            return collect(fragment: left).lowerBound...collect(fragment: right).upperBound
        case .phrase(let rule, let parts), .covered(let rule, let parts):
            var span: ClosedRange<Int>?
            for part in parts {
                guard let form = items[canonical(part)]?.form else { continue }
                let pieces = collect(form)
                span = (span?.lowerBound ?? pieces.lowerBound)...pieces.upperBound
            }
            let pieces = span ?? 0...0
            edits.append(
                RuleMatch(
                    rule: UInt32(rule), first: UInt32(pieces.lowerBound), last: UInt32(pieces.upperBound)))
            return pieces
        }
    }
}
