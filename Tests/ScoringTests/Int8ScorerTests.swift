import Scoring
import TestSupport
import Testing

@Suite struct Int8ScorerTests {
    private static let counts = [0, 1, 2, 3, 5, 6, 7, 11, 13, 15, 16, 17, 33, 95, 96, 97, 131]
    private static let ruleCounts = [0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 63, 64, 65, 127, 128, 129, 257]
    private static let featureCounts = [
        1, 2, 3, 4, 5, 7, 15, 16, 17, 63, 64, 65, 127, 255, 256, 257, 320, 509,
    ]

    /// The formula of `SAEScoring.h` in plain Swift, rule by rule.
    private static func plainBids(_ rules: BidRules, _ features: [Float]) -> [Float] {
        let k = rules.featureCount
        return stride(from: 0, to: features.count, by: k).flatMap { start -> [Float] in
            let row = features[start..<start + k]
            let largest = row.reduce(Float(0)) { $1.isNaN ? .infinity : max($0, abs($1)) }
            let scale = largest.isFinite && largest / 127 >= .leastNormalMagnitude ? largest / 127 : 0
            let inverse = scale > 0 ? 1 / scale : 0
            let quantized = row.map { scale > 0 ? Int(($0 * inverse).rounded(.toNearestOrEven)) : 0 }
            return (0..<rules.count).map { r in
                var dot = 0
                for j in 0..<k { dot += quantized[j] * Int(rules.elements[r * k + j]) }
                let product = (scale * rules.scales[r]) * Float(dot)
                let margin = product - rules.thresholds[r]
                return margin > 0 ? margin : 0
            }
        }
    }

    private func check(_ form: Int8Scorer.Form, _ rules: BidRules, _ features: [Float], _ what: String) throws
    {
        let expected = Self.plainBids(rules, features)
        let session = Int8Scorer(rules, form: form).makeSession()
        let bids = try session.allBids(features, rules)
        #expect(bids.map(\.bitPattern) == expected.map(\.bitPattern), "\(what)")
        var fired = FiredRules(ruleCount: rules.count, textCapacity: 2)
        let lists = try session.firedRules(features, into: &fired)
        #expect(
            lists == firedRules(in: expected, H: rules.count, textCount: features.count / rules.featureCount),
            "\(what)")
    }

    /// A machine without a form tests nothing of it: the log says so.
    @Test func `the forms that this processor lacks are told`() {
        let missing = Int8Scorer.Form.allCases.filter { !Int8Scorer.Form.available.contains($0) }
        if !missing.isEmpty { print("not tested on this processor: int8 \(missing.map { "\($0)" }.joined(separator: ", "))") }
        #expect(Int8Scorer.Form.available.first == .reference)
    }

    @Test(arguments: Int8Scorer.Form.available)
    func `bids have the bits of the plain formula for every shape`(form: Int8Scorer.Form) throws {
        var random = SeededRandom(seed: 41)
        for (index, H) in Self.ruleCounts.enumerated() {
            for (other, k) in Self.featureCounts.enumerated() {
                let n = Self.counts[(index * 5 + other * 3) % Self.counts.count]
                guard H * k * n <= 600_000 else { continue }
                let rules = try Made.rules(H, k: k, using: &random)
                try check(form, rules, Made.features(n, k: k, using: &random), "H \(H), k \(k), n \(n)")
            }
        }
    }

    @Test(arguments: Int8Scorer.Form.available)
    func `every number of texts up to two blocks gives the bits of the plain formula`(form: Int8Scorer.Form)
        throws
    {
        var random = SeededRandom(seed: 42)
        let rules = try Made.rules(81, k: 9, using: &random)
        for n in 0...200 {
            try check(form, rules, Made.features(n, k: 9, using: &random), "n \(n)")
        }
    }

    @Test(arguments: Int8Scorer.Form.available)
    func `extreme rules and features neither saturate nor wrap`(form: Int8Scorer.Form) throws {
        var random = SeededRandom(seed: 43)
        let k = 4099
        let patterns: [[Int8]] = [
            [-128], [127], [-128, 127], [127, -128], [127, 127, -128, -128], [-1, 0, 0, 1], [0],
        ]
        let elements = patterns.flatMap { pattern in (0..<k).map { pattern[$0 % pattern.count] } }
        let rules = try BidRules(
            elements: elements, scales: patterns.map { _ in Float.random(in: 0.5...2, using: &random) },
            thresholds: [0, -1e9, 1e9, 0, -0.0, 1, 0], featureCount: k)
        let rows: [(Int) -> Float] = [
            { _ in 1 }, { _ in -1 }, { $0 % 2 == 0 ? 1 : -1 }, { $0 % 4 < 2 ? 3e38 : -3e38 }, { _ in 0 },
            { _ in -0.0 },
            { _ in .leastNonzeroMagnitude }, { _ in .leastNormalMagnitude * 200 }, { $0 == 4000 ? .nan : 1 },
            { $0 == 7 ? .infinity : 1 }, { $0 == 0 ? 1e30 : 1 }, { Float($0) - 2048.5 },
        ]
        try check(form, rules, rows.flatMap { row in (0..<k).map(row) }, "extremes")
    }

    @Test func `the widest rule that is allowed is still exact`() throws {
        let k = BidRules.maximumFeatureCount
        let rules = try BidRules(
            elements: [Int8](repeating: -128, count: k), scales: [1], thresholds: [0], featureCount: k)
        let features = [Float](repeating: -127, count: k)
        for form in Int8Scorer.Form.available {
            // 127 · 128 · 65,536 is 127 · 2^23.
            #expect(try Int8Scorer(rules, form: form).allBids(features, rules) == [127 * 0x1p23])
        }
    }

    @Test func `a bid differs from the reference's by no more than the rounding of the features`() throws {
        var random = SeededRandom(seed: 44)
        let (H, k, n) = (200, 320, 20)
        let rules = try Made.rules(H, k: k, using: &random)
        let features = Made.features(n, k: k, using: &random)
        let bids = try Int8Scorer(rules).allBids(features, rules)
        let exact = try ReferenceScorer(rules).allBids(features, rules)
        let weights = rules.dequantized()
        var firedCount = 0
        for i in 0..<n {
            let row = features[i * k..<(i + 1) * k]
            let step = row.reduce(0) { max($0, abs($1)) } / 127
            for r in 0..<H {
                let bound = weights[r * k..<(r + 1) * k].reduce(0) { $0 + abs($1) } * step * 0.51
                let index = i * H + r
                #expect(abs(bids[index] - exact[index]) <= bound)
                firedCount += exact[index] > 0 ? 1 : 0
            }
        }
        #expect((H * n / 50...H * n / 2).contains(firedCount), "\(firedCount) of \(H * n) fired")
    }
}
