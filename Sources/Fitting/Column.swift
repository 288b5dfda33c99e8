/// Numbers at a place that stays, for kernels that run on several threads.
///
/// Safe as `Sendable`: a step gives each thread a part of its own to write, and threads meet between the parts.
package final class Column<Element: BitwiseCopyable>: @unchecked Sendable {
    let base: UnsafeMutablePointer<Element>
    let count: Int

    init(_ value: Element, count: Int) {
        self.count = count
        base = .allocate(capacity: max(1, count))
        base.initialize(repeating: value, count: max(1, count))
    }

    convenience init(_ values: [Element], filler: Element) {
        self.init(filler, count: values.count)
        for (index, value) in values.enumerated() { base[index] = value }
    }

    deinit { base.deallocate() }

    subscript(index: Int) -> Element {
        get { base[index] }
        set { base[index] = newValue }
    }

    package var values: [Element] { Array(UnsafeBufferPointer(start: base, count: count)) }
}
