/// What is inherited: which candidates are rules, how strong each family is, how many rules it may have, and who bids first.
package struct Genome: Sendable, Equatable {
    /// A bit a candidate.
    private(set) var members: [UInt64]
    /// Of each family: its phrases are multiplied by 2^(strength / 8).
    var strengths: [Int8]
    /// The most rules a family may have.
    var budgets: [Int32]
    var bidding = Bidding.worth

    /// Which of overlapping rules wins a place.
    enum Bidding: UInt8, Sendable, CaseIterable {
        /// The one that brings more a use.
        case worth
        /// The one that brings more in all.
        case gain
        /// The one with the stronger phrase.
        case strength
    }

    static let strengthRange: ClosedRange<Int8> = -16...16

    init(candidateCount: Int) {
        members = [UInt64](repeating: 0, count: (candidateCount + 63) / 64)
        strengths = RuleFamily.allCases.map { _ in 0 }
        budgets = RuleFamily.allCases.map { _ in .max }
    }

    @inline(__always) func contains(_ candidate: Int) -> Bool { members[candidate >> 6] >> UInt64(candidate & 63) & 1 == 1 }

    @inline(__always) mutating func flip(_ candidate: Int) { members[candidate >> 6] ^= 1 << UInt64(candidate & 63) }

    var count: Int { members.reduce(0) { $0 + $1.nonzeroBitCount } }

    /// Ascending.
    var candidates: [Int] {
        var result: [Int] = []
        for (index, word) in members.enumerated() {
            var rest = word
            while rest != 0 {
                result.append(index << 6 + rest.trailingZeroBitCount)
                rest &= rest - 1
            }
        }
        return result
    }

    /// What phrases of a family are multiplied by.
    func factor(_ family: RuleFamily) -> Float { Self.factors[Int(strengths[family.rawValue] - Self.strengthRange.lowerBound)] }

    /// 2^(strength / 8), from products of one rounded root: the same everywhere.
    private static let factors: [Float] = {
        let root = 1.0905077326652577
        return strengthRange.map { strength in
            let power = (0..<abs(Int(strength))).reduce(1.0) { power, _ in power * root }
            return Float(strength < 0 ? 1 / power : power)
        }
    }()

    /// Members, words, as they were stored.
    init(members: [UInt64], strengths: [Int8], budgets: [Int32], bidding: Bidding) {
        (self.members, self.strengths, self.budgets, self.bidding) = (members, strengths, budgets, bidding)
    }
}
