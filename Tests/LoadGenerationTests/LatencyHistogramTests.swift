import LoadGeneration
import TestSupport
import Testing

@Suite struct LatencyHistogramTests {
    @Test func `quantiles are exact up to 127 and within one part in 64 above`() {
        var random = SeededRandom(seed: 5)
        var histogram = LatencyHistogram()
        var values = (0..<5000).map { _ in UInt64.random(in: 0..<1 << UInt64.random(in: 1..<40, using: &random), using: &random) }
        for value in values { histogram.record(value) }
        values.sort()
        for share in [0.01, 0.25, 0.5, 0.9, 0.99, 1] {
            let exact = values[max(0, Int((Double(values.count) * share).rounded(.up)) - 1)]
            let found = histogram.quantile(share)
            #expect(found >= exact)
            #expect(exact < 128 ? found == exact : Double(found) <= Double(exact) * (1 + 1.0 / 64))
        }
    }

    @Test func `adding histograms is recording into one`() {
        var left = LatencyHistogram()
        var right = LatencyHistogram()
        left.record(10)
        right.record(1_000_000)
        left.add(right)
        #expect(left.count == 2)
        #expect(left.quantile(0.5) == 10 && left.quantile(1) >= 1_000_000)
        #expect(LatencyHistogram().quantile(0.5) == 0)
    }
}
