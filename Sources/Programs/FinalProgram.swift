import Vectors

/// What is left of a text when rewriting stops: items with their weights, and the context rules that fired. Printed by
/// `ForthSyntax`, it is the source of the text's vector.
package struct FinalProgram: Sendable, Equatable {
    /// Records and their weights, in order.
    package var items: [(id: UInt32, weight: Float)]
    /// Rules that fired, ascending, with their bids.
    package var fired: [(rule: UInt32, bid: Float)]
    /// Whether couplings and context rules take part: not at infinite temperature.
    package var isCoupled: Bool

    package init(items: [(id: UInt32, weight: Float)], fired: [(rule: UInt32, bid: Float)], isCoupled: Bool) {
        (self.items, self.fired, self.isCoupled) = (items, fired, isCoupled)
    }

    package static func == (a: FinalProgram, b: FinalProgram) -> Bool {
        a.isCoupled == b.isCoupled && a.items.elementsEqual(b.items, by: ==) && a.fired.elementsEqual(b.fired, by: ==)
    }

    /// The program word by word: the weighted sum; then, where couplings or rules take part, the sum made unit, lifted
    /// and corrected (algorithm.md, sections 3 to 5).
    package func instructions(_ tables: ModelTables) -> [Instruction] {
        var result: [Instruction] = []
        for (id, weight) in items {
            let phrase = Int(id) - tables.vocabularyCount
            result += [phrase < 0 ? .lexeme(id) : .phrase(UInt32(phrase)), .scale(weight), .add]
        }
        result.append(.normalize)
        guard isCoupled, tables.lifts.count > 0 else { return result }
        result.append(.add)
        if tables.shape.couplingCount > 0 {
            for left in items.indices {
                for offset in 1...2 where left + offset < items.count {
                    result.append(.couple(items[left].id, items[left + offset].id, offset: UInt32(offset)))
                }
            }
            result.append(.lift(couplingScale(itemCount: items.count)))
        }
        for (rule, bid) in fired { result += [.rule(rule), .scale(bid), .add] }
        return result + [.normalize]
    }
}

/// n^(−1/2): what makes the features of texts of any length comparable (algorithm.md, section 4).
@inlinable package func couplingScale(itemCount: Int) -> Float { 1 / Float(itemCount).squareRoot() }
