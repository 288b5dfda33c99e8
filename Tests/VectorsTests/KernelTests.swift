import CVectorKernels
import TestSupport
import Testing
import Vectors

@Suite struct KernelTests {
    @Test(arguments: InstructionSet.available)
    func `every instruction set gives the bits of the reference`(_ set: InstructionSet) {
        var random = SeededRandom(seed: 7)
        for dimensions in [1, 15, 16, 17, 63, 64, 65, 255, 256, 257, 384, 512] {
            for count in [0, 1, 2, 19, 300] {
                let rows = (0..<50 * dimensions).map { _ in Int8.random(in: -128...127, using: &random) }
                let scales = (0..<50).map { _ in Float.random(in: -1...1, using: &random) }
                let ids = (0..<count).map { _ in UInt32.random(in: 0..<50, using: &random) }
                let weights = ids.map { _ in Float.random(in: 0...9, using: &random) }
                for useWeights in [false, true] {
                    var expected = [Float](repeating: .nan, count: dimensions)
                    var actual = expected
                    sae_gather_sum_i8(
                        0, rows, scales, dimensions, ids, useWeights ? weights : nil, count, &expected)
                    sae_gather_sum_i8(
                        set.rawValue, rows, scales, dimensions, ids, useWeights ? weights : nil, count, &actual)
                    #expect(actual.map(\.bitPattern) == expected.map(\.bitPattern))
                }
            }
        }
    }

    @Test func `the reference is the sum that the formula states`() {
        let rows: [Int8] = [1, -2, 3, 4, 5, -6]
        let scales: [Float] = [0.5, 0.25]
        var sum: [Float] = [9, 9, 9]
        sae_gather_sum_i8(0, rows, scales, 3, [1, 0, 1], [1, 2, 4], 3, &sum)
        // 1·0.25·(4, 5, −6) + 2·0.5·(1, −2, 3) + 4·0.25·(4, 5, −6)
        #expect(sum == [6, 4.25, -4.5])
    }

    @Test func `a vector without direction becomes zeros and is reported`() {
        for bad: Float in [0, .nan, .infinity] {
            var x: [Float] = [bad, 0, 0]
            #expect(sae_normalize(x, 3, &x) == -1)
            #expect(x == [0, 0, 0])
        }
        var x: [Float] = [3, 0, -4]
        #expect(sae_normalize(x, 3, &x) == 0)
        #expect(x == [0.6, 0, -0.8])
    }

    @Test func `quantised rows are within half a step, and a zero row stays zero`() {
        var random = SeededRandom(seed: 8)
        let rows = (0..<64).map { _ in Float.random(in: -3...3, using: &random) } + [Float](repeating: 0, count: 8)
        let quantized = QuantizedRows(quantizing: rows, dimensions: 8)
        #expect(quantized.scales.last == 0)
        for (index, value) in rows.enumerated() {
            let scale = quantized.scales[index / 8]
            #expect(abs(Float(quantized.elements[index]) * scale - value) <= scale * 0.5001)
        }
    }
}
