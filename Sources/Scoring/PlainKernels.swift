/// What the kernels of `kernels-cl/` compute, in plain Swift: the twins that define their results. That of
/// `bid_scores` is `ReferenceScorer`.
package enum PlainKernels {
    /// Behind the last rule of a list.
    package static let noRule = UInt32.max

    /// `bid_arg_max`: for each row of H bids the largest one, the lowest rule of equals; `noRule` and 0 where none is
    /// positive.
    package static func argMax(_ bids: [Float], ruleCount H: Int, textCount n: Int) -> [Winner] {
        (0..<n).map { text in
            var winner = Winner(rule: noRule, bid: 0)
            for r in 0..<H where bids[text * H + r] > winner.bid {
                winner = Winner(rule: UInt32(r), bid: bids[text * H + r])
            }
            return winner
        }
    }

    /// `bid_top_k`: for each row of H bids the `limit` largest positive ones in falling order, equals in the order
    /// of their rules; filled up with `noRule` and 0.
    package static func topRules(
        _ bids: [Float], ruleCount H: Int, textCount n: Int, limit: Int
    ) -> [Winner] {
        (0..<n).flatMap { text -> [Winner] in
            let fired = (0..<H).map { Winner(rule: UInt32($0), bid: bids[text * H + $0]) }.filter {
                $0.bid > 0
            }
            let best = fired.sorted { ($1.bid, $0.rule) < ($0.bid, $1.rule) }.prefix(limit)
            return best + [Winner](repeating: Winner(rule: noRule, bid: 0), count: limit - best.count)
        }
    }

    /// `gate_energies`: E of each item (algorithm.md, section 3), where `contexts` holds u = P x̂ of each text,
    /// texts × r. Sums run as the formula is written, products and sums rounded separately:
    ///
    ///     −E_i = b + q_scale · Σ_j q_j · u_j + Σ_o (m_scale · k_scale) · Σ_j d_oj · (m_j · k_j)
    package static func gateEnergies(
        _ columns: GateColumns, _ batch: PieceBatch, contexts: [Float]
    ) -> [Float] {
        let (ranks, parts) = (columns.rankCount, columns.partCount)
        precondition(contexts.count == batch.textCount * ranks)
        var energies: [Float] = []
        for text in 0..<batch.textCount {
            let items = Int(batch.starts[text])..<Int(batch.starts[text + 1])
            for item in items {
                let piece = Int(batch.pieces[item])
                var sum: Float = 0
                for j in 0..<ranks { sum += Float(columns.q[piece * ranks + j]) * contexts[text * ranks + j] }
                var gate = columns.biases[piece] + columns.qScales[piece] * sum
                for (place, offset) in [-2, -1, 1, 2].enumerated() where items.contains(item + offset) {
                    let other = Int(batch.pieces[item + offset])
                    var moved: Float = 0
                    for j in 0..<parts {
                        let product = Int(columns.m[piece * parts + j]) * Int(columns.k[other * parts + j])
                        moved += columns.offsets[place * parts + j] * Float(product)
                    }
                    gate += (columns.mScales[piece] * columns.kScales[other]) * moved
                }
                energies.append(-gate)
            }
        }
        return energies
    }

    /// `gather_sum`: texts × dimensions, Σ_i (weight_i · scales[p_i]) · rows[p_i] in item order, each product added in one
    /// rounding.
    package static func gatherSums(
        _ batch: PieceBatch, weights: [Float], rows: [Int8], scales: [Float], dimensions: Int
    ) -> [Float] {
        var sums = [Float](repeating: 0, count: batch.textCount * dimensions)
        for text in 0..<batch.textCount {
            for item in Int(batch.starts[text])..<Int(batch.starts[text + 1]) {
                let piece = Int(batch.pieces[item])
                let coefficient = weights[item] * scales[piece]
                for d in 0..<dimensions {
                    sums[text * dimensions + d].addProduct(coefficient, Float(rows[piece * dimensions + d]))
                }
            }
        }
        return sums
    }
}

/// A rule and its bid.
package struct Winner: Sendable, Equatable {
    package let rule: UInt32
    package let bid: Float

    package init(rule: UInt32, bid: Float) {
        self.rule = rule
        self.bid = bid
    }
}
