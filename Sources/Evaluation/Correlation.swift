/// Pearson's correlation of two columns of one length; 0 when either is constant.
package func pearson(_ a: [Double], _ b: [Double]) -> Double {
    precondition(a.count == b.count)
    guard !a.isEmpty else { return 0 }
    let meanA = a.reduce(0, +) / Double(a.count)
    let meanB = b.reduce(0, +) / Double(b.count)
    var product = 0.0
    var squareA = 0.0
    var squareB = 0.0
    for (x, y) in zip(a, b) {
        product += (x - meanA) * (y - meanB)
        squareA += (x - meanA) * (x - meanA)
        squareB += (y - meanB) * (y - meanB)
    }
    let scale = (squareA * squareB).squareRoot()
    return scale > 0 ? product / scale : 0
}

/// Spearman's correlation: Pearson's of the ranks, ties given the mean of their ranks.
package func spearman(_ a: [Double], _ b: [Double]) -> Double { pearson(ranks(a), ranks(b)) }

/// Ranks from 1; equal values share the mean of the ranks that they take up.
package func ranks(_ values: [Double]) -> [Double] {
    let order = values.indices.sorted { values[$0] < values[$1] }
    var result = [Double](repeating: 0, count: values.count)
    var start = 0
    while start < order.count {
        var end = start + 1
        while end < order.count, values[order[end]] == values[order[start]] { end += 1 }
        for place in start..<end { result[order[place]] = Double(start + end + 1) / 2 }
        start = end
    }
    return result
}
