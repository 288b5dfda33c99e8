import CAllocationCounter
import Diagnostics
import Dispatch
import Scoring
import Synchronization
import TestSupport
import Testing

/// What every back end promises.
@Suite struct BidScorerTests {
    @Test func `the reference gives bids worked out by hand`() throws {
        let rules = try BidRules(
            elements: [1, -2, 3, 4, 5, -6], scales: [0.5, 0.25], thresholds: [0.25, -1], featureCount: 3)
        // K' = (0.5, −1, 1.5), (1, 1.25, −1.5)
        let features: [Float] = [1, 2, 4, 0, 0, 1]
        // 0.5 − 2 + 6 − 0.25; 1 + 2.5 − 6 + 1 < 0; 1.5 − 0.25; −1.5 + 1 < 0
        #expect(try ReferenceScorer(rules).allBids(features, rules) == [4.25, 0, 1.25, 0])
        let session = ReferenceScorer(rules).makeSession()
        var fired = FiredRules(ruleCount: 2, textCapacity: 0)
        let lists = try session.firedRules(features, into: &fired)
        #expect(lists.map { $0.map(\.rule) } == [[0], [0]])
        #expect(fired.bids(ofText: 1).elementsEqual([1.25]))
    }

    @Test(arguments: Backend.allCases)
    func `a text's bids do not depend on its batch or its place in it`(backend: Backend) throws {
        var random = SeededRandom(seed: 51)
        for (H, k) in [(512, 320), (129, 321), (17, 64), (1, 5)] {
            let rules = try Made.rules(H, k: k, using: &random)
            let session = try backend.scorer(rules).makeSession()
            let total = 150
            let features = Made.features(total, k: k, using: &random)
            let alone = try (0..<total).flatMap {
                try session.allBids(Array(features[$0 * k..<($0 + 1) * k]), rules)
            }
            var begin = 0
            for n in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 64, 65, 97] {
                begin = (begin + 11) % (total - n)
                let bids = try session.allBids(Array(features[begin * k..<(begin + n) * k]), rules)
                #expect(
                    bids.map(\.bitPattern) == alone[begin * H..<(begin + n) * H].map(\.bitPattern),
                    "H \(H), k \(k), n \(n)")
            }
        }
    }

    @Test(arguments: Backend.allCases)
    func `two scorers of one name give the same bits, and fire what their bids say`(backend: Backend) throws {
        var random = SeededRandom(seed: 52)
        let (H, k, n) = (130, 77, 70)
        let rules = try Made.rules(H, k: k, using: &random)
        let features = Made.features(n, k: k, using: &random)
        let (one, other) = (try backend.scorer(rules), try backend.scorer(rules))
        #expect(one.numerics == other.numerics)
        let bids = try one.allBids(features, rules)
        #expect(try other.allBids(features, rules).map(\.bitPattern) == bids.map(\.bitPattern))
        var fired = FiredRules(ruleCount: H, textCapacity: 0)
        #expect(
            try other.makeSession().firedRules(features, into: &fired)
                == firedRules(in: bids, H: H, textCount: n))
        #expect(bids.contains { $0 > 0 } && bids.contains(0))
    }

    @Test(arguments: Backend.allCases)
    func `sessions on four threads at once give the bits of one alone`(backend: Backend) throws {
        var random = SeededRandom(seed: 54)
        let (H, k, n) = (200, 96, 33)
        let rules = try Made.rules(H, k: k, using: &random)
        let features = Made.features(n, k: k, using: &random)
        let scorer = try backend.scorer(rules)
        let expected = try scorer.allBids(features, rules).map(\.bitPattern)
        let equalCount = Atomic(0)
        DispatchQueue.concurrentPerform(iterations: 4) { _ in
            guard let session = try? scorer.makeSession() else { return }
            for _ in 0..<20 {
                let bids = try? session.allBids(features, rules).map(\.bitPattern)
                equalCount.wrappingAdd(bids == expected ? 1 : 0, ordering: .relaxed)
            }
        }
        #expect(equalCount.load(ordering: .relaxed) == 80)
    }

    @Test(arguments: [ScorerChoice.int8, .blas, .reference])
    func `a batch allocates nothing once warm`(choice: ScorerChoice) throws {
        var random = SeededRandom(seed: 55)
        let rules = try Made.rules(300, k: 320, using: &random)
        let features = Made.features(64, k: 320, using: &random)
        let settings = ScorerSettings(choice: choice, cacheDirectory: Made.cacheDirectory)
        let session = ResilientScorer(rules, settings).makeSession()
        var fired = FiredRules(ruleCount: 300, textCapacity: 1)
        features.withUnsafeBufferPointer { features in
            let cold = sae_thread_allocations()
            _ = session.fire(features, into: &fired)
            #expect(sae_thread_allocations() > cold, "the counter counts")
            let before = sae_thread_allocations()
            _ = session.fire(features, into: &fired)
            #expect(sae_thread_allocations() == before)
        }
    }

    @Test(arguments: Backend.floats)
    func `bids lie within the stated tolerance of the reference for every shape`(backend: Backend) throws {
        var random = SeededRandom(seed: 53)
        for (H, k, n) in [
            (0, 3, 2), (1, 1, 1), (2, 3, 1), (15, 16, 7), (16, 17, 6), (17, 15, 5), (31, 257, 13),
            (64, 64, 64),
            (127, 320, 3), (513, 320, 2), (257, 509, 11), (3, 8191, 2), (2048, 33, 1),
        ] {
            let rules = try Made.rules(H, k: k, using: &random)
            let features = Made.features(n, k: k, using: &random)
            let bids = try backend.scorer(rules).allBids(features, rules)
            let expected = try ReferenceScorer(rules).allBids(features, rules)
            for i in 0..<n {
                for r in 0..<H {
                    let tolerance = ReferenceScorer.tolerance(
                        rules, rule: r, features: features[i * k..<(i + 1) * k])
                    #expect(abs(bids[i * H + r] - expected[i * H + r]) <= tolerance, "H \(H), k \(k), n \(n)")
                }
            }
        }
    }

    @Test func `rules whose columns do not belong together are refused`() {
        func failure(_ elements: Int, _ scales: [Float], _ thresholds: [Float], _ k: Int) -> ScoringError? {
            do throws(ScoringError) {
                _ = try BidRules(
                    elements: [Int8](repeating: 1, count: elements), scales: scales, thresholds: thresholds,
                    featureCount: k)
                return nil
            } catch {
                return error
            }
        }
        #expect(failure(6, [1, 1], [0, 0], 3) == nil)
        let cases: [(Int, [Float], [Float], Int)] = [
            (5, [1, 1], [0, 0], 3), (6, [1, 1], [0], 3), (6, [1, .nan], [0, 0], 3),
            (6, [1, 1], [0, .infinity], 3),
            (0, [], [], 0), (65_537, [1], [0], 65_537),
        ]
        for (elements, scales, thresholds, k) in cases {
            #expect(failure(elements, scales, thresholds, k)?.category == .corrupt)
        }
    }
}

/// The back ends by name, for tests of what all of them promise.
enum Backend: String, CaseIterable, Sendable {
    case reference, int8, blas, opencl

    /// Those that compute in float32, in another order than the reference.
    static let floats: [Backend] = [.blas, .opencl]

    func scorer(_ rules: BidRules) throws -> any BidScorer {
        switch self {
        case .reference: ReferenceScorer(rules)
        case .int8: Int8Scorer(rules)
        case .blas: BLASScorer(rules)
        case .opencl: try OpenCLScorer(rules, device: try Made.device())
        }
    }
}
