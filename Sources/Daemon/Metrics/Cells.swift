import Synchronization

/// A number that only grows. Cheap to add to from any thread.
package final class Counter: Sendable {
    private let cell = Atomic<UInt64>(0)

    package func add(_ amount: Int = 1) { cell.wrappingAdd(UInt64(max(amount, 0)), ordering: .relaxed) }
    package var value: UInt64 { cell.load(ordering: .relaxed) }
}

/// A distribution over fixed upper bounds.
package final class Histogram: Sendable {
    /// Upper bounds, ascending; one more bucket catches the rest.
    let bounds: [UInt64]
    /// What one unit of the bounds is in the exported unit, as 1e-6 for microseconds shown in seconds.
    let unit: Double
    private let buckets: [Counter]
    private let sum = Counter()

    init(bounds: [UInt64], unit: Double) {
        self.bounds = bounds
        self.unit = unit
        buckets = (0...bounds.count).map { _ in Counter() }
    }

    /// 50 microseconds times powers of two up to 13 seconds.
    static func latency() -> Histogram { Histogram(bounds: (0..<19).map { 50 << UInt64($0) }, unit: 1e-6) }

    /// Powers of four up to 65,536.
    static func sizes() -> Histogram { Histogram(bounds: (0..<9).map { 1 << UInt64(2 * $0) }, unit: 1) }

    package func observe(_ value: Int) {
        let value = UInt64(max(value, 0))
        buckets[bounds.firstIndex { value <= $0 } ?? bounds.count].add()
        sum.add(Int(value))
    }

    /// Running totals by bound, the last being all; and the sum in the bounds' unit.
    func snapshot() -> (cumulative: [UInt64], sum: UInt64) {
        var total: UInt64 = 0
        return (buckets.map { total += $0.value; return total }, sum.value)
    }
}

/// Counters by the value of one label; every series exists from the start.
package final class LabelledCounter: Sendable {
    let names: [String]
    private let cells: [Counter]

    init(_ names: [String]) {
        self.names = names
        cells = names.map { _ in Counter() }
    }

    /// The counter of `name`; an unforeseen one counts under the last name.
    package subscript(name: String) -> Counter { cells[names.firstIndex(of: name) ?? names.count - 1] }
    package subscript(_ index: Int) -> Counter { cells[index] }
}
