package import RuleLibrary
import Rules

/// Generations from numbers, so that another process can say what it wrote by a number alone.
package struct GeneratedGenerations: Sendable {
    package var seed: UInt64
    /// Rules and phrases of each, at most.
    package var size: Int
    package var recordBytes = 320
    package static let model = Digest([UInt8](repeating: 7, count: 32))

    package init(seed: UInt64, size: Int) {
        self.seed = seed
        self.size = size
    }

    /// Generation `number`: its rules share most of their parts with those of its neighbours.
    package subscript(number: Int) -> Generation {
        var random = SeededRandom(seed: seed &+ UInt64(number / 4))
        var shape = GeneratedRules()
        (shape.pieces, shape.phrases) = (200, max(1, size / 4))
        let rules = shape.ruleSet(size: size, using: &random)
        var own = SeededRandom(seed: seed &+ UInt64(number) &* 7_919)
        let changed = Int.random(in: 0..<shape.phrases, using: &own)
        var records: [UInt8] = []
        for phrase in 0..<shape.phrases {
            var source = SeededRandom(seed: UInt64(phrase == changed ? number : 0) &* 31 &+ UInt64(phrase))
            for _ in 0..<recordBytes { records.append(UInt8.random(in: 0...255, using: &source)) }
        }
        var origin = Origin()
        origin.seed = UInt64(number)
        origin.options = "generated \(number)"
        if number > 0 { origin.corpus = Digest([UInt8](repeating: UInt8(truncatingIfNeeded: number), count: 32)) }
        return Generation(model: Self.model, origin: origin, rules: rules, records: records)
    }

    package func worth(_ number: Int) -> Worth {
        Worth(
            madeMilliseconds: Int64(number), scores: ["held-out-cosine": Double(number) / 8, "train-cosine": 0.1],
            bytes: UInt64(number), microseconds: 1.5, testVector: [Float(number), -0.1])
    }
}
