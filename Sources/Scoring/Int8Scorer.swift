import CVectorKernels
import Vectors

/// The CPU's scorer: features rounded to int8 a text, exact integer products (`SAEScoring.h` has the formula).
/// The same bits on every processor, in every form of the kernel.
package struct Int8Scorer: BidScorer {
    /// Which form of the kernel runs. All give the same bits.
    package enum Form: Int32, Sendable, CaseIterable {
        case reference = 0
        case avx2, vnni, amx

        /// The fastest that this processor has.
        package static let best = Form(rawValue: sae_bid_best_form()) ?? .reference

        /// Those that this processor can run, the reference first.
        package static var available: [Form] { allCases.filter { $0.rawValue <= best.rawValue } }
    }

    private let packed: PackedBidRules
    private let form: Form

    package var numerics: String { "cpu-3" }

    /// Packs the rules; a megabyte takes about a millisecond.
    package init(_ rules: BidRules, form: Form = .best) {
        packed = PackedBidRules(rules)
        self.form = form
    }

    package func makeSession() -> any BidSession { makeInt8Session() }

    func makeInt8Session() -> Int8Session { Int8Session(packed: packed, form: form) }
}

/// A thread's part of an `Int8Scorer`: it cannot fail.
final class Int8Session: BidSession {
    private let packed: PackedBidRules
    private let form: Int8Scorer.Form
    private let scratch: AlignedMemory<UInt8>

    fileprivate init(packed: PackedBidRules, form: Int8Scorer.Form) {
        self.packed = packed
        self.form = form
        scratch = AlignedMemory(count: sae_bid_scratch_bytes(packed.rules.featureCount))
    }

    func score(_ features: UnsafeBufferPointer<Float>, into bids: UnsafeMutableBufferPointer<Float>) {
        let textCount = packed.rules.textCount(features)
        precondition(bids.count >= textCount * packed.rules.count)
        packed.withKernelView { view in
            sae_bid_scores_i8(
                form.rawValue, view, features.baseAddress, textCount, scratch.base, bids.baseAddress)
        }
    }

    func fire(_ features: UnsafeBufferPointer<Float>, into fired: inout FiredRules) {
        let textCount = packed.rules.textCount(features)
        let columns = fired.prepare(textCount: textCount, ruleCount: packed.rules.count)
        packed.withKernelView { view in
            sae_bid_fired_i8(
                form.rawValue, view, features.baseAddress, textCount, scratch.base, columns.indices,
                columns.bids, columns.counts)
        }
    }
}

/// Rules in panels of 16, as `struct sae_bid_rules` describes them.
private struct PackedBidRules: Sendable {
    let rules: BidRules
    private let matrix: PackedMatrix
    private let scales: AlignedMemory<Float>
    private let thresholds: AlignedMemory<Float>

    init(_ rules: BidRules) {
        self.rules = rules
        matrix = PackedMatrix(elements: rules.elements, rowCount: rules.count, columnCount: rules.featureCount)
        let paddedRules = (rules.count + 15) / 16 * 16
        scales = AlignedMemory(count: paddedRules)
        thresholds = AlignedMemory(count: paddedRules)
        for r in 0..<rules.count {
            scales.base[r] = rules.scales[r]
            thresholds.base[r] = rules.thresholds[r]
        }
    }

    func withKernelView(_ body: (UnsafePointer<sae_bid_rules>) -> Void) {
        var view = sae_bid_rules()
        view.H = rules.count
        view.k = rules.featureCount
        view.panels = matrix.columns.panels
        view.sums = matrix.columns.sums
        view.scales = UnsafePointer(scales.base)
        view.thresholds = UnsafePointer(thresholds.base)
        withUnsafePointer(to: view, body)
    }
}
