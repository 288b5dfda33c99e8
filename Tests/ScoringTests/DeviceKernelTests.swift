import CVectorKernels
import Scoring
import TestSupport
import Testing

/// The OpenCL kernels against their plain twins, on the first device: PoCL's, where no GPU is.
@Suite struct DeviceKernelTests {
    private static func texts(_ lengths: [Int], vocabulary: Int, using random: inout SeededRandom)
        -> PieceBatch
    {
        var starts: [UInt32] = [0]
        for length in lengths { starts.append(starts[starts.count - 1] + UInt32(length)) }
        let pieces = (0..<Int(starts[starts.count - 1])).map { _ in
            UInt32.random(in: 0..<UInt32(vocabulary), using: &random)
        }
        return PieceBatch(pieces: pieces, starts: starts)
    }

    private static let lengths: [[Int]] = [
        [], [0], [1], [2], [3], [0, 0, 5, 0], [19, 1, 64, 0, 7, 65, 2], [1009], (0..<257).map { $0 % 5 },
    ]

    @Test func `bid scores are the fused sums in the order of the features, to the bit`() throws {
        var random = SeededRandom(seed: 71)
        let device = try Made.device()
        for (H, k, n) in [(1, 1, 1), (15, 3, 5), (16, 320, 6), (17, 7, 7), (129, 257, 13), (3, 5, 4099)] {
            let rules = try Made.rules(H, k: k, using: &random)
            let features = Made.features(n, k: k, using: &random)
            let weights = rules.dequantized()
            let expected = (0..<n * H).map { index -> UInt32 in
                let (i, r) = (index / H, index % H)
                var sum: Float = 0
                for j in 0..<k { sum.addProduct(features[i * k + j], weights[r * k + j]) }
                let margin = sum - rules.thresholds[r]
                return (margin > 0 ? margin : 0).bitPattern
            }
            let bids = try OpenCLScorer(rules, device: device).allBids(features, rules)
            #expect(bids.map(\.bitPattern) == expected, "H \(H), k \(k), n \(n)")
        }
    }

    @Test func `arg-max and top-k give the twins' rules, ties and empty rows included`() throws {
        var random = SeededRandom(seed: 72)
        let kernels = try DeviceKernels(try Made.device())
        for (H, n) in [(0, 3), (1, 0), (1, 1), (2, 7), (16, 17), (63, 64), (257, 5), (512, 131), (4099, 2)] {
            // Few different values, so that there are ties; every third text has no positive bid.
            let bids = (0..<n * H).map { index -> Float in
                index / max(H, 1) % 3 == 2 ? 0 : Float(Int.random(in: 0...12, using: &random)) / 4
            }
            #expect(
                try kernels.argMax(bids, ruleCount: H, textCount: n)
                    == PlainKernels.argMax(bids, ruleCount: H, textCount: n), "H \(H), n \(n)")
            for limit in [1, 2, 5, 16, 65] {
                #expect(
                    try kernels.topRules(bids, ruleCount: H, textCount: n, limit: limit)
                        == PlainKernels.topRules(bids, ruleCount: H, textCount: n, limit: limit),
                    "H \(H), n \(n), limit \(limit)")
            }
        }
    }

    @Test func `the twins of arg-max and top-k give lists worked out by hand`() {
        let bids: [Float] = [0, 2, 1, 2, 0, 0, 0, 0]
        func winner(_ rule: UInt32, _ bid: Float) -> Winner { Winner(rule: rule, bid: bid) }
        let none = winner(PlainKernels.noRule, 0)
        #expect(PlainKernels.argMax(bids, ruleCount: 4, textCount: 2) == [winner(1, 2), none])
        #expect(
            PlainKernels.topRules(bids, ruleCount: 4, textCount: 2, limit: 2)
                == [winner(1, 2), winner(3, 2), none, none])
        #expect(
            PlainKernels.topRules(bids, ruleCount: 4, textCount: 2, limit: 4)[..<4]
                == [winner(1, 2), winner(3, 2), winner(2, 1), none])
    }

    @Test func `gate energies lie within a hundred-thousandth of the sum of magnitudes of the twin's`() throws
    {
        var random = SeededRandom(seed: 73)
        let kernels = try DeviceKernels(try Made.device())
        for (ranks, parts) in [(64, 16), (1, 1), (0, 3), (7, 0), (65, 17), (127, 15)] {
            let columns = Self.gateColumns(vocabulary: 50, ranks: ranks, parts: parts, using: &random)
            for lengths in Self.lengths {
                let batch = Self.texts(lengths, vocabulary: 50, using: &random)
                let contexts = (0..<lengths.count * ranks).map { _ in Float.random(in: -1...1, using: &random)
                }
                let energies = try kernels.gateEnergies(columns, batch, contexts: contexts)
                let expected = PlainKernels.gateEnergies(columns, batch, contexts: contexts)
                // |b| ≤ 2, |q · u| ≤ r, each of four neighbours moves |d · m · k| ≤ s.
                let magnitude = Float(2 + ranks + 4 * parts)
                #expect(energies.count == batch.pieces.count)
                #expect(
                    zip(energies, expected).allSatisfy { abs($0 - $1) <= magnitude * 1e-5 },
                    "ranks \(ranks), parts \(parts), lengths \(lengths.prefix(8))")
            }
        }
    }

    private static func gateColumns(
        vocabulary: Int, ranks: Int, parts: Int, using random: inout SeededRandom
    ) -> GateColumns {
        func rows(_ width: Int, _ random: inout SeededRandom) -> [Int8] {
            (0..<vocabulary * width).map { _ in Int8.random(in: -127...127, using: &random) }
        }
        func scales(_ random: inout SeededRandom) -> [Float] {
            (0..<vocabulary).map { _ in Float.random(in: 0...1 / 127, using: &random) }
        }
        return GateColumns(
            rankCount: ranks, partCount: parts,
            biases: (0..<vocabulary).map { _ in Float.random(in: -2...2, using: &random) },
            q: rows(ranks, &random), qScales: scales(&random), m: rows(parts, &random),
            mScales: scales(&random),
            k: rows(parts, &random), kScales: scales(&random),
            offsets: (0..<4 * parts).map { _ in Float.random(in: -1...1, using: &random) })
    }

    @Test func `the twin of the gate energies gives numbers worked out by hand`() {
        // Three pieces, one rank, one part; d is 1, 10, 100, 1000 for the neighbours −2, −1, 1, 2.
        let columns = GateColumns(
            rankCount: 1, partCount: 1, biases: [0.5, 1, 2], q: [2, 4, 8], qScales: [1, 0.5, 1],
            m: [1, 2, 3],
            mScales: [1, 1, 1], k: [5, 6, 7], kScales: [1, 1, 2], offsets: [1, 10, 100, 1000])
        let batch = PieceBatch(pieces: [0, 1, 2, 1], starts: [0, 3, 3, 4])
        let energies = PlainKernels.gateEnergies(columns, batch, contexts: [3, 9, 1])
        let expected: [Float] = [
            // 0.5 + 2·3 + 100·(1·6) + 1000·(1·14)
            -14606.5,
            // 1 + 2·3 + 10·(2·5) + 100·(2·14)
            -2907,
            // 2 + 8·3 + 1·(3·5) + 10·(3·6)
            -221,
            // 1 + 2·1
            -3,
        ]
        #expect(energies == expected)
    }

    @Test func `gathered sums have the bits of the twin`() throws {
        var random = SeededRandom(seed: 74)
        let kernels = try DeviceKernels(try Made.device())
        for dimensions in [1, 15, 16, 17, 64, 255, 256, 257] {
            let rows = (0..<40 * dimensions).map { _ in Int8.random(in: -128...127, using: &random) }
            let scales = (0..<40).map { _ in Float.random(in: 1e-4...1e-1, using: &random) }
            for lengths in Self.lengths {
                let batch = Self.texts(lengths, vocabulary: 40, using: &random)
                let weights = batch.pieces.map { _ in Float.random(in: 0.01...50, using: &random) }
                let sums = try kernels.gatherSums(
                    batch, weights: weights, rows: rows, scales: scales, dimensions: dimensions)
                let expected = PlainKernels.gatherSums(
                    batch, weights: weights, rows: rows, scales: scales, dimensions: dimensions)
                #expect(sums.map(\.bitPattern) == expected.map(\.bitPattern), "\(dimensions) dimensions")
            }
        }
    }
}
