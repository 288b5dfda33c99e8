/// Makes a rule set rule by rule, each checked as it comes: nothing of a million rules lies twice in memory.
package struct RuleSetBuilder {
    private let vocabularyCount: Int
    private let phraseCount: Int
    private let contextDimensions: Int
    /// Ascending by name.
    private let classes: [PieceClass]
    private let memberCounts: [Int]
    /// The place in `classes` of each class as given.
    private let ranks: [Int]
    private let classesAreInOrder: Bool
    private var table: RuleTable
    private var isInOrder = true

    /// - Parameter ruleCount: how many are to come, for its limit.
    /// - Throws: `pieceClass` with the index in the order given; `tooMany`.
    package init(
        vocabularyCount: Int, phraseCount: Int, contextDimensions: Int, classes: [PieceClass], ruleCount: Int
    ) throws(RuleError) {
        try Self.check(vocabularyCount + phraseCount, .records, RuleLimits.maximumRecords)
        try Self.check(contextDimensions, .contextDimensions, RuleLimits.maximumContextDimensions)
        try Self.check(classes.count, .classes, RuleLimits.maximumClasses)
        try Self.check(ruleCount, .rules, RuleLimits.maximumRules)
        let order = classes.indices.sorted { classes[$0].name < classes[$1].name }
        for (place, given) in order.enumerated() {
            if let fault = Self.fault(of: classes[given], recordCount: vocabularyCount + phraseCount) {
                throw .pieceClass(given, fault)
            }
            if place > 0, classes[given].name == classes[order[place - 1]].name {
                throw .pieceClass(given, .repeated)
            }
        }
        self.vocabularyCount = vocabularyCount
        self.phraseCount = phraseCount
        self.contextDimensions = contextDimensions
        self.classes = order.map { classes[$0] }
        memberCounts = self.classes.map(\.members.count)
        var ranks = [Int](repeating: 0, count: classes.count)
        for (place, given) in order.enumerated() { ranks[given] = place }
        self.ranks = ranks
        classesAreInOrder = ranks.elementsEqual(ranks.indices)
        table = RuleTable(vocabularyCount: vocabularyCount, contextDimensions: contextDimensions)
    }

    /// Room for this many rules.
    package mutating func reserve(_ count: Int) { table.reserve(count) }

    /// - Throws: `rule` with how many were appended before it.
    package mutating func append(_ row: RuleRow) throws(RuleError) {
        let fault = row.fault(
            recordCount: vocabularyCount + phraseCount, phraseCount: phraseCount, classCount: classes.count,
            contextDimensions: contextDimensions)
        if let fault { throw .rule(table.count, fault) }
        var row = row
        row.dropNegativeZeros()
        if !classesAreInOrder { row.renumberClasses(ranks) }
        table.append(row, anchor: row.anchor(memberCounts))
        isInOrder = isInOrder && table.endsInOrder
    }

    /// The rules in canonical order, which costs no sort when they came in it, with their index.
    /// - Throws: `rule` for one that is there twice; `tooMany`.
    package consuming func finish() throws(RuleError) -> RuleSet {
        try RuleSet(
            phraseCount: phraseCount, vocabularyCount: vocabularyCount, contextDimensions: contextDimensions,
            classes: classes, rules: isInOrder ? table : try table.ordered())
    }

    private static func check(_ count: Int, _ what: RuleQuantity, _ maximum: Int) throws(RuleError) {
        guard count <= maximum else { throw .tooMany(what, count: count, maximum: maximum) }
    }

    private static func fault(of pieceClass: PieceClass, recordCount: Int) -> RuleFault? {
        let name = Array(pieceClass.name.utf8)
        guard (1...RuleLimits.maximumNameBytes).contains(name.count), name.allSatisfy(RuleSet.isNameByte) else {
            return .name
        }
        guard let last = pieceClass.members.last else { return .emptyClass }
        return last < recordCount ? nil : .unknownRecord
    }
}
