import Programs
import Rules
import Vectors

/// The kinds of rules that a search finds.
package enum RuleFamily: Int, Sendable, CaseIterable {
    /// Pieces in a row.
    case phrase
    /// Two pieces with up to three between.
    case skipGram
    /// A row with a class of pieces in it: what phrases with one meaning have in common.
    case classPhrase
    /// A piece with one of a class near it.
    case scope

    package var name: String {
        switch self {
        case .phrase: "phrase"
        case .skipGram: "skip-gram"
        case .classPhrase: "class phrase"
        case .scope: "scope"
        }
    }

    init(_ pattern: Pattern) {
        switch pattern {
        case .trigger: self = .scope
        case .sequence(let elements, let gaps):
            let hasClass = elements.contains { if case .pieceClass = $0 { true } else { false } }
            self = hasClass ? .classPhrase : gaps.contains { $0 > 0 } ? .skipGram : .phrase
        }
    }
}

/// The rules that a search chooses from, each with a phrase of its own; candidate i is rule i of `set`.
struct CandidatePool: Sendable {
    let set: RuleSet
    let dimensions: Int
    let families: [RuleFamily]
    /// What a rule adds to a model, with its record; classes are counted with each rule that has one.
    let byteCounts: [Int]
    private let holders: [UInt32: [Int]]
    /// A row a candidate, as the record will hold it: elements times the scale of the row.
    private(set) var elements: [Int8] = []
    private(set) var scales: [Float] = []
    private(set) var vectors: [Float] = []
    /// |v|².
    private(set) var squares: [Float] = []
    /// What the rule is expected to bring a use, and over all texts that proposed it.
    private(set) var worths: [Float] = []
    private(set) var gains: [Float] = []

    var count: Int { families.count }

    /// - Parameter proposals: in any order; their patterns differ.
    init(
        _ proposals: [Proposal], classes: [PieceClass], vocabularyCount: Int, shape: ModelShape
    ) throws(RuleError) {
        dimensions = shape.dimensions
        set = try RuleSet(
            vocabularyCount: vocabularyCount, phraseCount: proposals.count, classes: classes,
            rules: proposals.enumerated().map { Rule($1.pattern, .add, phrase: UInt32($0), worth: 1) })
        families = set.rules.map { RuleFamily($0.pattern) }
        let set = set
        byteCounts = set.rules.map { rule in
            let classBytes = rule.pattern.elements.reduce(0) { sum, element in
                if case .pieceClass(let index) = element { sum + 4 * set.classes[index].members.count } else { sum }
            }
            return shape.recordBytes + Self.ruleBytes + 4 * rule.pattern.elements.count + classBytes
        }
        var holders: [UInt32: [Int]] = [:]
        for (candidate, rule) in set.rules.enumerated() {
            if let piece = set.pieces(of: rule.pattern).max() { holders[piece, default: []].append(candidate) }
        }
        self.holders = holders
        let ordered = set.rules.map { proposals[Int($0.phrase)] }
        setVectors(ordered.flatMap(\.vector), worths: ordered.map(\.worth), gains: ordered.map(\.gain))
    }

    /// Kind, edit, counts, gaps and numbers of a rule, in bytes (`RuleSet.canonicalBytes`), about.
    private static let ruleBytes = 24

    /// Takes other vectors, rounded as records hold them.
    mutating func setVectors(_ rows: [Float], worths: [Float], gains: [Float]) {
        let rounded = QuantizedRows(quantizing: rows, dimensions: dimensions)
        setVectors(elements: rounded.elements, scales: rounded.scales, worths: worths, gains: gains)
    }

    mutating func setVectors(elements: [Int8], scales: [Float], worths: [Float], gains: [Float]) {
        (self.elements, self.scales, self.worths, self.gains) = (elements, scales, worths, gains)
        let size = dimensions
        vectors = elements.indices.map { Float(elements[$0]) * scales[$0 / size] }
        squares = scales.indices.map { row in vectors.withRow(row, size) { dot($0, $0) } }
    }

    /// Candidates that share the rarest piece of this one.
    func rivals(of candidate: Int) -> [Int] {
        set.pieces(of: set.rules[candidate].pattern).max().flatMap { holders[$0] } ?? []
    }

    func vector(_ candidate: Int) -> ArraySlice<Float> {
        vectors[candidate * dimensions..<(candidate + 1) * dimensions]
    }
}

extension RuleSet {
    /// The pieces that a pattern names; classes are left out.
    fileprivate func pieces(of pattern: Pattern) -> [UInt32] {
        pattern.elements.compactMap { if case .record(let id) = $0 { id } else { nil } }
    }
}
