package import Rules

/// The patterns that occur often in some texts, and where: adjacent pairs and triples of pieces, and pairs with up to
/// three pieces between.
package struct PatternCandidates {
    /// A candidate at a place of a text: pieces `first` to `last`.
    package struct Place {
        package var candidate: UInt32
        package var first: UInt16
        package var last: UInt16
    }

    /// Two bits of kind (0 pair, 1 triple, 2 pair with a gap), then three ids of 20 bits; ascending.
    private let keys: [UInt64]
    /// Places of the texts, text after text.
    private(set) var places: [Place] = []
    private(set) var starts: [Int] = [0]

    package var count: Int { keys.count }

    /// The patterns that are in at least `minimumCount` of the texts `chosen`.
    package init(_ texts: TrainingTexts, _ chosen: [UInt32], minimumCount: Int) {
        var all: [UInt64] = []
        for text in chosen {
            var own: [UInt64] = []
            Self.forEach(in: texts, text) { key, _, _ in own.append(key) }
            own.sort()
            for (index, key) in own.enumerated() where index == 0 || own[index - 1] != key { all.append(key) }
        }
        all.sort()
        var keys: [UInt64] = []
        var start = 0
        for index in all.indices where index + 1 == all.count || all[index + 1] != all[index] {
            if index + 1 - start >= minimumCount { keys.append(all[index]) }
            start = index + 1
        }
        self.keys = keys
        for text in chosen {
            Self.forEach(in: texts, text) { key, first, last in
                guard let candidate = self.index(of: key) else { return }
                places.append(Place(candidate: UInt32(candidate), first: first, last: last))
            }
            starts.append(places.count)
        }
    }

    /// The places of text number `index` of those chosen.
    package func places(of index: Int) -> ArraySlice<Place> { places[starts[index]..<starts[index + 1]] }

    package func pattern(_ candidate: Int) -> Pattern {
        let key = keys[candidate]
        let ids = [key >> 40, key >> 20, key].map { PatternElement.record(UInt32($0 & 0xF_FFFF)) }
        return switch key >> 60 {
        case 0: .adjacent(Array(ids[..<2]))
        case 1: .adjacent(ids)
        default: .sequence(Array(ids[..<2]), gaps: [RuleLimits.maximumGap])
        }
    }

    private func index(of key: UInt64) -> Int? {
        var (low, high) = (0, keys.count)
        while low < high {
            let middle = (low + high) / 2
            if keys[middle] < key { low = middle + 1 } else { high = middle }
        }
        return low < keys.count && keys[low] == key ? low : nil
    }

    private static func forEach(
        in texts: TrainingTexts, _ text: UInt32, _ body: (_ key: UInt64, _ first: UInt16, _ last: UInt16) -> Void
    ) {
        let start = Int(texts.starts[Int(text)])
        let count = min(Int(texts.starts[Int(text) + 1]) - start, Int(UInt16.max))
        func id(_ index: Int) -> UInt64 { UInt64(texts.pieces[start + index]) }
        for first in 0..<count {
            let head = id(first) << 40
            if first + 1 < count { body(head | id(first + 1) << 20, UInt16(first), UInt16(first + 1)) }
            if first + 2 < count {
                body(1 << 60 | head | id(first + 1) << 20 | id(first + 2), UInt16(first), UInt16(first + 2))
            }
            // The nearest of equal pieces only, as the rule will match.
            for last in first + 1..<min(count, first + 2 + Int(RuleLimits.maximumGap))
            where !(first + 1..<last).contains(where: { id($0) == id(last) }) {
                body(2 << 60 | head | id(last) << 20, UInt16(first), UInt16(last))
            }
        }
    }
}
