import CVectorKernels
import TestSupport
import Testing

@Suite struct GradientTests {
    private static let dimensions = 32
    private static let pieces: [UInt32] = [0, 1, 2, 2, 3, 1, 4, 0, 3, 4, 1]
    private static let starts: [UInt64] = [0, 3, 5, 8, 11]

    /// Loss of four texts in one group, and its derivative by each text's sum.
    private func evaluate(_ rows: [Float], _ targets: [Int8], _ scales: [Float]) -> (loss: Double, gradients: [Float]) {
        let order: [UInt32] = [0, 1, 2, 3]
        let offsets: [UInt32] = [0, 3, 5, 8, 11]
        var cosines = [Float](repeating: 0, count: 4)
        var differences = cosines
        var units = [Float](repeating: 0, count: 4 * Self.dimensions)
        var gradients = units
        Self.pieces.withUnsafeBufferPointer { pieces in
            Self.starts.withUnsafeBufferPointer { starts in targets.withUnsafeBufferPointer { targets in scales.withUnsafeBufferPointer { scales in
                var texts = sae_fit_texts(
                    pieces: pieces.baseAddress, starts: starts.baseAddress, targets: targets.baseAddress,
                    target_scales: scales.baseAddress)
                order.withUnsafeBufferPointer { order in
                    offsets.withUnsafeBufferPointer { offsets in
                        cosines.withUnsafeMutableBufferPointer { cosines in
                            differences.withUnsafeMutableBufferPointer { differences in
                                units.withUnsafeMutableBufferPointer { units in
                                    gradients.withUnsafeMutableBufferPointer { gradients in
                                        var batch = sae_fit_batch(
                                            order: order.baseAddress, count: 4, group: 4, similarity_weight: 3,
                                            cosines: cosines.baseAddress, differences: differences.baseAddress,
                                            units: units.baseAddress, gradients: gradients.baseAddress,
                                            offsets: offsets.baseAddress, heads: nil, next: nil, owners: nil)
                                        sae_fit_forward(rows, Self.dimensions, &texts, &batch, 0, 1)
                                    }
                                }
                            }
                        }
                    }
                }
            }}}
        }
        return (loss(units, targets, scales), gradients)
    }

    /// Σ (1 − x̂·t) + λ/(g − 1) · Σ over pairs (x̂ᵢ·x̂ⱼ − tᵢ·tⱼ)², in double precision, from the formula.
    private func loss(_ units: [Float], _ targets: [Int8], _ scales: [Float]) -> Double {
        func unit(_ text: Int) -> [Double] {
            units[text * Self.dimensions..<(text + 1) * Self.dimensions].map(Double.init)
        }
        func target(_ text: Int) -> [Double] {
            targets[text * Self.dimensions..<(text + 1) * Self.dimensions].map { Double($0) * Double(scales[text]) }
        }
        func product(_ a: [Double], _ b: [Double]) -> Double { zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } }
        var sum = 0.0
        for i in 0..<4 {
            sum += 1 - product(unit(i), target(i))
            for j in 0..<i {
                let difference = product(unit(i), unit(j)) - product(target(i), target(j))
                sum += 3.0 / 3 * difference * difference
            }
        }
        return sum
    }

    @Test func `the gradient is that of finite differences`() {
        var random = SeededRandom(seed: 41)
        let rows = (0..<5 * Self.dimensions).map { _ in Float.random(in: -1...1, using: &random) }
        let targets = (0..<4 * Self.dimensions).map { _ in Int8.random(in: -127...127, using: &random) }
        let scales = (0..<4).map { text in
            let squares = targets[text * Self.dimensions..<(text + 1) * Self.dimensions].map { Double($0) * Double($0) }
            return Float(1 / squares.reduce(0, +).squareRoot())
        }
        let gradients = evaluate(rows, targets, scales).gradients
        for index in stride(from: 0, to: rows.count, by: 7) {
            let (piece, dimension) = (index / Self.dimensions, index % Self.dimensions)
            var analytic = 0.0
            for text in 0..<4 {
                for at in Self.starts[text]..<Self.starts[text + 1] where Self.pieces[Int(at)] == piece {
                    analytic += Double(gradients[text * Self.dimensions + dimension])
                }
            }
            var moved = rows
            let step: Float = 1e-2
            moved[index] = rows[index] + step
            let above = evaluate(moved, targets, scales).loss
            moved[index] = rows[index] - step
            let below = evaluate(moved, targets, scales).loss
            let numeric = (above - below) / Double(2 * step)
            #expect(abs(numeric - analytic) < 2e-3 + 0.02 * abs(numeric), "row \(piece), dimension \(dimension)")
        }
    }
}
