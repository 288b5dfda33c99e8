import Scoring
import Vectors

/// `sae devices --bench`: microseconds a text of every scorer, over batches and numbers of rules. The table of
/// docs/performance.md.
struct ScorerBenchmark {
    let devices: [OpenCLDevice]
    let json: Bool

    private static let featureCount = 320
    private static let batches = [1, 64, 4096]
    private static let ruleCounts = [256, 512, 1024, 4096]

    private struct Measurement: Encodable {
        let scorer: String
        let rules: Int
        let batch: Int
        let microsecondsPerText: Double
    }

    func run() throws {
        var measurements: [Measurement] = []
        for ruleCount in Self.ruleCounts {
            let rules = try ScorerSpeed.sampleRules(count: ruleCount, featureCount: Self.featureCount)
            var scorers: [any BidScorer] = [Int8Scorer(rules), BLASScorer(rules), ReferenceScorer(rules)]
            for device in devices { scorers.append(try OpenCLScorer(rules, device: device)) }
            for batch in Self.batches {
                for scorer in scorers {
                    let rate = try ScorerSpeed.textsPerSecond(
                        scorer, rules, batch: batch, rounds: 5, roundDuration: .milliseconds(60))
                    measurements.append(try noted(scorer.numerics, ruleCount, batch, 1e6 / rate))
                }
                measurements.append(
                    try noted("sgemm alone", ruleCount, batch, microsecondsOfProduct(rules, batch: batch)))
            }
        }
        if !json { printTable(measurements) }
    }

    private func noted(_ scorer: String, _ rules: Int, _ batch: Int, _ time: Double) throws -> Measurement {
        let measurement = Measurement(
            scorer: scorer, rules: rules, batch: batch, microsecondsPerText: (time * 1000).rounded() / 1000)
        if json { print(try JSON.line(measurement)) }
        return measurement
    }

    /// OpenBLAS's matrix product without thresholds and lists: no scorer, since its bits depend on the batch, but the
    /// best that BLAS could do.
    private func microsecondsOfProduct(_ rules: BidRules, batch: Int) -> Double {
        let rows = Matrix(rowCount: rules.count, columnCount: rules.featureCount, values: rules.dequantized())
        let columns = rows.transposed()
        let features = ScorerSpeed.sampleFeatures(count: batch * rules.featureCount)
        var product = [Float](repeating: 0, count: batch * rules.count)
        let clock = ContinuousClock()
        let times = (0..<6).map { _ in
            let begin = clock.now
            var (elapsed, texts) = (Duration.zero, 0)
            repeat {
                product.withUnsafeMutableBufferPointer {
                    multiply(features, rowCount: batch, by: columns, into: $0)
                }
                texts += batch
                elapsed = clock.now - begin
            } while elapsed < .milliseconds(60)
            return elapsed / .microseconds(1) / Double(texts)
        }
        return times.min() ?? 0
    }

    private func printTable(_ measurements: [Measurement]) {
        var names: [String] = []
        for measurement in measurements where !names.contains(measurement.scorer) {
            names.append(measurement.scorer)
        }
        print("| rules | batch | \(names.joined(separator: " | ")) |")
        print("|---|---|\(String(repeating: "---|", count: names.count))")
        for rules in Self.ruleCounts {
            for batch in Self.batches {
                let row = measurements.filter { $0.rules == rules && $0.batch == batch }
                print(
                    "| \(rules) | \(batch) | \(row.map { "\($0.microsecondsPerText)" }.joined(separator: " | ")) |"
                )
            }
        }
    }
}
