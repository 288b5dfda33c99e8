import Fitting
import Rules
import TestSupport
import Testing

@Suite struct RuleMinerTests {
    private let size = 16
    private let vocabularyCount = 30

    /// 6,000 random texts of 8 pieces, each the sum of its pieces' vectors; `target` says what the teacher makes of one.
    private func material(
        seed: UInt64, target: ([UInt32], inout [Float], inout SeededRandom) -> Void
    ) -> (texts: TrainingTexts, sums: [Float]) {
        var random = SeededRandom(seed: seed)
        let rows = (0..<vocabularyCount).map { _ in (0..<size).map { _ in Float.random(in: -1...1, using: &random) } }
        let ids = (0..<6_000).map { _ in (0..<8).map { _ in UInt32.random(in: 0..<30, using: &random) } }
        var (sums, targets): ([Float], [Float]) = ([], [])
        for text in ids {
            var x = [Float](repeating: 0, count: size)
            for id in text { for d in 0..<size { x[d] += rows[Int(id)][d] } }
            sums += x
            target(text, &x, &random)
            let length = x.reduce(0) { $0 + $1 * $1 }.squareRoot()
            targets += x.map { $0 / length }
        }
        var texts = TrainingTexts(dimensions: size)
        texts.append(pieces: ids, targets: targets) { $0 % 10 == 0 ? .holdOut : .fit }
        return (texts, sums)
    }

    private func noise(_ x: inout [Float], _ random: inout SeededRandom) {
        for d in 0..<size { x[d] += Float.random(in: -1...1, using: &random) }
    }

    @Test func `a pattern that the teacher hears is found, with its vector, and helps on texts never seen`() throws {
        let meaning = (0..<size).map { Float($0 % 3) - 1 }
        let (texts, sums) = material(seed: 91) { ids, x, random in
            noise(&x, &random)
            for at in 1..<ids.count where ids[at - 1] == 4 && ids[at] == 9 {
                for d in 0..<size { x[d] += 3 * meaning[d] }
            }
        }
        var options = MiningOptions()
        options.minimumCount = 20
        let miner = RuleMiner(texts, vectors: sums, vocabularyCount: vocabularyCount, options: options)
        let mined = try miner.mine()
        let rule = try #require(mined.rules.rules.first { $0.pattern == .adjacent(records: 4, 9) })
        let vector = mined.phraseVectors[Int(rule.phrase) * size..<(Int(rule.phrase) + 1) * size]
        let product = zip(vector, meaning).reduce(0) { $0 + $1.0 * $1.1 }
        let lengths = vector.reduce(0) { $0 + $1 * $1 } * meaning.reduce(0) { $0 + $1 * $1 }
        #expect(product / lengths.squareRoot() > 0.9)
        #expect(rule.worth > 0 && rule.edit == .add)
        let (before, after) = (miner.score(of: texts.heldOut, with: nil), miner.score(of: texts.heldOut, with: mined))
        #expect(after.cosine > before.cosine && after.editsPerText > 0 && before.editsPerText == 0)
    }

    @Test func `from noise alone hardly a rule is kept`() throws {
        let (texts, sums) = material(seed: 92) { _, x, random in noise(&x, &random) }
        var options = MiningOptions()
        options.minimumCount = 5
        options.evidence = 1
        let mined = try RuleMiner(texts, vectors: sums, vocabularyCount: vocabularyCount, options: options).mine()
        #expect(mined.candidateCount > 500 && mined.takenCount > 300)
        #expect(mined.keptCount <= mined.takenCount / 100)
    }
}
