import CVectorKernels
import Dispatch
import Vectors

/// Texts in groups of `groupCount` whose targets lie near each other: the leaves of a random projection tree
/// (Dasgupta, Freund 2008). Each cell is halved at the median along the line between two of its members drawn at
/// random, until it is one group. The groups come in random order, the odd one out last. Key and texts decide the
/// result, the threads do not.
///
/// Cost: log₂(count / groupCount) products of all targets with a direction, and as many sorts.
func neighbourGroups(
    of texts: TrainingTexts, groupCount: Int, key: UInt64, threadCount: Int
) -> [UInt32] {
    var random = CounterRandom(key)
    var order = texts.fitted
    guard groupCount > 1 else {
        shuffle(&order, using: &random)
        return order
    }
    // Cells as borders in `order`, all but the last a multiple of the group long.
    var borders = [0, order.count]
    while true {
        var next = [0]
        var cells: [(range: Range<Int>, pair: (UInt32, UInt32))] = []
        for (begin, end) in zip(borders, borders.dropFirst()) {
            if end - begin > groupCount {
                let groups = (end - begin + groupCount - 1) / groupCount
                next.append(begin + groups / 2 * groupCount)
                let draw = { order[begin + Int(random.next().multipliedFullWidth(by: UInt64(end - begin)).high)] }
                cells.append((begin..<end, (draw(), draw())))
            }
            next.append(end)
        }
        if cells.isEmpty { break }
        borders = next
        order.withUnsafeMutableBufferPointer { buffer in
            let (shared, cells) = (SharedOrder(buffer), cells)
            DispatchQueue.concurrentPerform(iterations: cells.count) { cell in
                sort(shared.slice(cells[cell].range), of: texts, between: cells[cell].pair)
            }
        }
    }
    let whole = order.count / groupCount
    var groups = (0..<UInt32(whole)).map { $0 }
    shuffle(&groups, using: &random)
    var result: [UInt32] = []
    result.reserveCapacity(order.count)
    for group in groups {
        result.append(contentsOf: order[Int(group) * groupCount..<(Int(group) + 1) * groupCount])
    }
    result.append(contentsOf: order[(whole * groupCount)...])
    return result
}

/// Sorts a cell by its targets' products with the difference of two of them.
private func sort(
    _ cell: UnsafeMutableBufferPointer<UInt32>, of texts: TrainingTexts, between pair: (UInt32, UInt32)
) {
    let size = texts.dimensions
    let direction = (0..<size).map { d in
        Float(texts.targets[Int(pair.0) * size + d]) * texts.targetScales[Int(pair.0)]
            - Float(texts.targets[Int(pair.1) * size + d]) * texts.targetScales[Int(pair.1)]
    }
    var products = [Float](repeating: 0, count: cell.count)
    texts.withColumns { columns in
        var columns = columns
        sae_fit_project(&columns, size, cell.baseAddress, cell.count, direction, &products)
    }
    // Order-preserving bits of the float above, the text's number below: one integer sort, no ties.
    var keys = zip(products, cell).map { product, text in
        let bits = product.bitPattern
        return UInt64(bits & 0x8000_0000 == 0 ? bits | 0x8000_0000 : ~bits) << 32 | UInt64(text)
    }
    keys.sort()
    for (at, key) in keys.enumerated() { cell[at] = UInt32(truncatingIfNeeded: key) }
}

/// Safe as `Sendable`: each iteration takes a range of its own.
private struct SharedOrder: @unchecked Sendable {
    private let buffer: UnsafeMutableBufferPointer<UInt32>
    init(_ buffer: UnsafeMutableBufferPointer<UInt32>) { self.buffer = buffer }
    func slice(_ range: Range<Int>) -> UnsafeMutableBufferPointer<UInt32> {
        UnsafeMutableBufferPointer(rebasing: buffer[range])
    }
}
