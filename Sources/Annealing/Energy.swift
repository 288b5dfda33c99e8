/// An energy, or a bid, as a whole number of units of 2⁻²⁴: sums are exact in any order, so the energy that is tracked
/// equals the one computed from scratch.
package struct Energy: Sendable, Hashable, Comparable, AdditiveArithmetic {
    package private(set) var units: Int64

    private init(units: Int64) { self.units = units }

    /// The nearest unit; bids beyond ±2²⁰ count as ±2²⁰, so that the sum of a program’s bids cannot overflow.
    package init(_ value: Float) {
        units = Int64((min(max(Double(value), -0x1p20), 0x1p20) * 0x1p24).rounded())
    }

    package var value: Double { Double(units) * 0x1p-24 }

    package static let zero = Energy(units: 0)
    package static func + (a: Energy, b: Energy) -> Energy { Energy(units: a.units + b.units) }
    package static func - (a: Energy, b: Energy) -> Energy { Energy(units: a.units - b.units) }
    package static func < (a: Energy, b: Energy) -> Bool { a.units < b.units }
}
