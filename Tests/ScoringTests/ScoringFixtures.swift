import Foundation
import Scoring
import TestSupport

/// Rules and features made from a seed.
enum Made {
    /// Rules of which about one in eight fires on features of `features(...)`.
    static func rules(_ H: Int, k: Int, using random: inout SeededRandom) throws -> BidRules {
        let elements = (0..<H * k).map { _ in Int8.random(in: -127...127, using: &random) }
        let scales = (0..<H).map { _ in Float.random(in: 0.5e-3...2e-3, using: &random) }
        // The sum's standard deviation is about scale · 73 · √(k/3) · 0.1.
        let spread = Float(k).squareRoot() * 0.1 * 73 * 0.58 * 1e-3
        let thresholds = (0..<H).map { _ in Float.random(in: 0.5...1.5, using: &random) * spread }
        return try BidRules(elements: elements, scales: scales, thresholds: thresholds, featureCount: k)
    }

    static func features(_ n: Int, k: Int, using random: inout SeededRandom) -> [Float] {
        (0..<n * k).map { _ in Float.random(in: -0.1...0.1, using: &random) }
    }
}

extension Made {
    /// Where these tests keep compiled kernels: as the program would.
    static let cacheDirectory = KernelCacheDirectory(environment: ProcessInfo.processInfo.environment)

    /// The first OpenCL device: PoCL's, where no GPU is.
    static func device() throws -> OpenCLDevice {
        try OpenCLDevice.find("auto", in: try OpenCLDevice.all(cacheDirectory: cacheDirectory))
    }
}

extension BidScorer {
    /// Every bid of a batch, by a session of its own.
    func allBids(_ features: [Float], _ rules: BidRules) throws -> [Float] {
        try makeSession().allBids(features, rules)
    }
}

extension BidSession {
    func allBids(_ features: [Float], _ rules: BidRules) throws -> [Float] {
        // One guard behind the bids must stay.
        var bids = [Float](repeating: -7, count: features.count / rules.featureCount * rules.count + 1)
        try features.withUnsafeBufferPointer { features in
            try bids.withUnsafeMutableBufferPointer {
                try score(features, into: UnsafeMutableBufferPointer(rebasing: $0.dropLast()))
            }
        }
        guard bids.removeLast() == -7 else { throw Overrun() }
        return bids
    }

    /// The fired rules of every text as a list of (rule, bid's bits).
    func firedRules(_ features: [Float], into fired: inout FiredRules) throws -> [[Fired]] {
        try features.withUnsafeBufferPointer { try fire($0, into: &fired) }
        var texts: [[Fired]] = []
        for text in 0..<fired.textCount {
            texts.append(
                zip(fired.rules(ofText: text), fired.bids(ofText: text)).map {
                    Fired(rule: $0, bits: $1.bitPattern)
                })
        }
        return texts
    }
}

struct Fired: Equatable {
    let rule: UInt32
    let bits: UInt32
}

struct Overrun: Error {}

/// The list of fired rules that all bids of a batch imply.
func firedRules(in bids: [Float], H: Int, textCount: Int) -> [[Fired]] {
    (0..<textCount).map { text in
        (0..<H).compactMap { r in
            let bid = bids[text * H + r]
            return bid > 0 ? Fired(rule: UInt32(r), bits: bid.bitPattern) : nil
        }
    }
}
