import CVectorKernels
import Glibc
import TestSupport
import Testing
import Vectors

@Suite struct KernelTests {
    @Test func `the reference is the sum that the formula states`() {
        var rows = [Int8](repeating: 0, count: 32)
        rows.replaceSubrange(0..<3, with: [1, -2, 3])
        rows.replaceSubrange(16..<19, with: [4, 5, -6])
        var sum = [Float](repeating: 0, count: 16)
        sum[0] = 1
        sae_add_rows(0, rows, [0.5, 0.25], 16, [1, 0, 1], [4.2, 510, 12], 3, &sum)
        // Coefficients 1.05, 255 and 3 are 1, 255 and 3 steps of 1:
        // (1, 0, 0) + 1·(4, 5, −6) + 255·(1, −2, 3) + 3·(4, 5, −6)
        #expect(sum.prefix(4) == [272, -490, 741, 0])
    }

    /// Records of random numbers, as the kernels read them.
    private struct Records {
        let bytes: [UInt8]
        let (r, s, c): (Int, Int, Int)
        let stride: Int
        static let dimensions = 32

        init(_ r: Int, _ s: Int, _ c: Int, using random: inout SeededRandom) {
            (self.r, self.s, self.c) = (r, s, c)
            let packed = Self.dimensions + (r + 2 * s + 2 * c) / 2
            stride = (packed + 16 + 63) / 64 * 64
            var bytes: [UInt8] = []
            for _ in 0..<20 {
                bytes += (0..<packed).map { _ in UInt8.random(in: 0...255, using: &random) }
                withUnsafeBytes(of: Float.random(in: -0.02...0.02, using: &random)) { bytes += $0 }
                for _ in 0..<6 {
                    let bits = Float.random(in: -0.2...0.2, using: &random).bitPattern
                    withUnsafeBytes(of: UInt16(bits >> 16)) { bytes += $0 }
                }
                bytes += [UInt8](repeating: 0, count: stride - packed - 16)
            }
            self.bytes = bytes
        }

        init(bytes: [UInt8], _ r: Int, _ s: Int, _ c: Int) {
            (self.bytes, self.r, self.s, self.c, stride) = (bytes, r, s, c, bytes.count)
        }

        func withColumns<R>(_ body: (sae_records) -> R) -> R {
            bytes.withUnsafeBufferPointer {
                body(sae_records(base: $0.baseAddress, stride: stride, D: Self.dimensions, r: r, s: s, c: c))
            }
        }

        func element(_ id: UInt32, _ at: Int) -> Double {
            let (record, place) = (Int(id) * stride, at - Self.dimensions)
            if place < 0 { return Double(Int8(bitPattern: bytes[record + at])) }
            let byte = bytes[record + Self.dimensions + place / 16 * 8 + place % 8]
            return Double(place % 16 < 8 ? byte % 16 : byte / 16) - 8
        }

        func number(_ id: UInt32, _ index: Int) -> Double {
            let at = Int(id) * stride + Self.dimensions + (r + 2 * s + 2 * c) / 2
            return bytes.withUnsafeBytes {
                if index == 0 { return Double($0.loadUnaligned(fromByteOffset: at, as: Float.self)) }
                let half = $0.loadUnaligned(fromByteOffset: at + 2 + 2 * index, as: UInt16.self)
                return Double(Float(bitPattern: UInt32(half) << 16))
            }
        }
    }

    @Test func `a packed record is the rounded one`() {
        var random = SeededRandom(seed: 12)
        let shape = sae_fit_shape(D: 32, r: 48, s: 16, c: 32)
        let count = sae_fit_width(shape)
        for size in [1, 1e-3, Float.leastNonzeroMagnitude * 700, 0] {
            let record = (0..<count).map { _ in Float.random(in: -size...size, using: &random) }
            var rounded = [Float](repeating: 7, count: count)
            var bytes = [UInt8](repeating: 0, count: 32 + 72 + 16)
            sae_fit_round_record(record, shape, &rounded)
            sae_fit_pack_record(record, shape, &bytes)
            let packed = Records(bytes: bytes, 48, 16, 32)
            var first = 0
            for (part, length) in [32, 48, 16, 16, 32, 32].enumerated() {
                let largest = record[first..<first + length].reduce(0) { max($0, abs($1)) }
                for at in first..<first + length {
                    #expect(Float(packed.element(0, at)) * Float(packed.number(0, part)) == rounded[at])
                    // Half a step, of which a scale of 16 bits may be 1/128 too large.
                    #expect(abs(rounded[at] - record[at]) <= largest / (part == 0 ? 127 : 7) * 0.504 || size < 1e-30)
                }
                first += length
            }
            #expect(Float(packed.number(0, 6)) == rounded[first])
            #expect(abs(rounded[first] - record[first]) <= abs(record[first]) / 256 || size < 1e-30)
            #expect(rounded[(first + 1)...].allSatisfy { $0 == 0 })
        }
    }

    @Test func `gate weights are those of the formula, with the same bits for every instruction set`() {
        var random = SeededRandom(seed: 9)
        for (r, s, c) in [(0, 16, 0), (16, 0, 16), (64, 16, 64), (32, 32, 0), (112, 16, 16), (128, 16, 32), (192, 16, 64), (256, 0, 0)] {
            let records = Records(r, s, c, using: &random)
            let u = (0..<r).map { _ in Float.random(in: -1...1, using: &random) }
            let d = (0..<4 * s).map { _ in Float.random(in: -1...1, using: &random) }
            for count in [1, 2, 3, 16, 17, 40] {
                let ids = (0..<count).map { _ in UInt32.random(in: 0..<20, using: &random) }
                let all = InstructionSet.available.map { set in
                    var weights = [Float](repeating: 0, count: count)
                    records.withColumns { sae_gate_weights(set.rawValue, $0, u, d, 0.5, ids, count, &weights) }
                    return weights
                }
                #expect(all.allSatisfy { $0.map(\.bitPattern) == all[0].map(\.bitPattern) })
                // The context is rounded to 127 steps.
                let step = u.reduce(0) { max($0, abs($1)) } / 127
                for (i, id) in ids.enumerated() {
                    var energy = records.number(id, 6)
                    for j in 0..<r {
                        let context = Double(step) * Double((u[j] * (1 / step)).rounded(.toNearestOrEven))
                        energy += records.number(id, 1) * records.element(id, 32 + j) * context
                    }
                    for (o, offset) in [-2, -1, 1, 2].enumerated() where ids.indices.contains(i + offset) {
                        let other = ids[i + offset]
                        for j in 0..<s {
                            energy += records.number(id, 2) * records.number(other, 3) * Double(d[o * s + j])
                                * records.element(id, 32 + r + j) * records.element(other, 32 + r + s + j)
                        }
                    }
                    let expected = exp(min(4, max(-4, energy / 2)))
                    #expect(abs(Double(all[0][i]) - expected) < 2e-5 * expected + 1e-6)
                }
            }
        }
    }

    @Test func `couplings are those of the formula, with the same bits for every instruction set`() {
        var random = SeededRandom(seed: 10)
        let (c, left) = (112, 32 + 16)
        let records = Records(16, 0, c, using: &random)
        let e = (0..<2 * c).map { _ in Float.random(in: -1...1, using: &random) }
        for count in [1, 2, 3, 19] {
            let ids = (0..<count).map { _ in UInt32.random(in: 0..<20, using: &random) }
            let all = InstructionSet.available.map { set in
                var z = [Float](repeating: 7, count: c)
                records.withColumns { sae_couplings(set.rawValue, $0, e, 0.25, ids, count, &z) }
                return z
            }
            #expect(all.allSatisfy { $0.map(\.bitPattern) == all[0].map(\.bitPattern) })
            for j in 0..<c {
                var expected = 0.0
                for i in ids.indices {
                    for o in 1...2 where i + o < count {
                        expected += Double(e[(o - 1) * c + j]) * records.number(ids[i], 4) * records.number(ids[i + o], 5)
                            * records.element(ids[i], left + j) * records.element(ids[i + o], left + c + j)
                    }
                }
                #expect(abs(Double(all[0][j]) - expected / 4) < 1e-4 * max(1, abs(expected)))
            }
        }
    }

    @Test(arguments: InstructionSet.available)
    func `a vector without direction becomes zeros and is reported`(set: InstructionSet) {
        for bad: Float in [0, .nan, .infinity] {
            var x: [Float] = [bad, 0, 0]
            #expect(sae_normalize(set.rawValue, x, 3, &x) == -1)
            #expect(x == [0, 0, 0])
        }
        var x: [Float] = [3, 0, -4]
        #expect(sae_normalize(set.rawValue, x, 3, &x) == 0)
        #expect(abs(x[0] - 0.6) < 1e-7 && x[1] == 0 && abs(x[2] + 0.8) < 1e-7)
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
