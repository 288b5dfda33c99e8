import Dispatch
import Fitting
import Rules
import Vectors

/// Computes the vectors of all candidates anew, from what is lacking while the rules of one genome are in force: those of its own
/// rules as well as those of rules that might be added where their place is free.
struct Refit {
    let fitting: Landscape
    let material: TrainingTexts
    let bases: [Float]
    let options: SearchOptions

    /// Texts are added up in so many blocks, whatever the number of threads: sums of floats depend on their order.
    private static let blockCount = 8
    /// How far the vectors of rules in force move: rules of one text correct the same fault.
    private static let step: Float = 0.5

    func refitted(_ pool: CandidatePool, with genome: Genome) -> CandidatePool {
        let blocks = Slots<Sums>(count: Self.blockCount)
        DispatchQueue.concurrentPerform(iterations: Self.blockCount) { block in
            let texts = fitting.count * block / Self.blockCount..<fitting.count * (block + 1) / Self.blockCount
            blocks[block] = self.sums(texts, pool, genome)
        }
        var total = Sums(count: pool.count, dimensions: pool.dimensions)
        for case let block? in blocks.values { total.add(block) }
        var (vectors, worths, gains): ([Float], [Float], [Float]) = ([], [], [])
        vectors.reserveCapacity(pool.vectors.count)
        for candidate in 0..<pool.count {
            let old = pool.vector(candidate)
            guard let found = total.evidence(candidate).proposal(pool.set.rules[candidate].pattern, options) else {
                vectors.append(contentsOf: old)
                worths.append(pool.worths[candidate])
                gains.append(0)
                continue
            }
            let factor = genome.factor(pool.families[candidate])
            let step: Float = genome.contains(candidate) ? Self.step : 1
            vectors.append(contentsOf: zip(old, found.vector).map { $0 + step * ($1 / factor - $0) })
            worths.append(found.worth)
            gains.append(found.gain)
        }
        var result = pool
        result.setVectors(vectors, worths: worths, gains: gains)
        return result
    }

    private struct Sums: Sendable {
        let dimensions: Int
        var slopes: [Float]
        var numbers: [(count: Float, squares: Float, curvature: Float)]

        init(count: Int, dimensions: Int) {
            self.dimensions = dimensions
            slopes = [Float](repeating: 0, count: count * dimensions)
            numbers = [(count: Float, squares: Float, curvature: Float)](repeating: (0, 0, 0), count: count)
        }

        mutating func add(_ other: Sums) {
            for index in slopes.indices { slopes[index] += other.slopes[index] }
            for index in numbers.indices {
                numbers[index].count += other.numbers[index].count
                numbers[index].squares += other.numbers[index].squares
                numbers[index].curvature += other.numbers[index].curvature
            }
        }

        func evidence(_ candidate: Int) -> Evidence {
            var result = Evidence(dimensions: dimensions)
            (result.count, result.squares, result.curvature) = numbers[candidate]
            result.slope = Array(slopes[candidate * dimensions..<(candidate + 1) * dimensions])
            return result
        }
    }

    private func sums(_ texts: Range<Int>, _ pool: CandidatePool, _ genome: Genome) -> Sums {
        let size = pool.dimensions
        var sums = Sums(count: pool.count, dimensions: size)
        var memory = Auction()
        var residual = Residual(dimensions: size)
        var target = [Float](repeating: 0, count: size)
        for text in texts {
            let row = Int(fitting.texts[text])
            material.copyTarget(row, into: &target)
            fitting.apply(genome, to: text, pool, &memory)
            var x = Array(bases[row * size..<(row + 1) * size])
            for index in memory.applied {
                let candidate = Int(fitting.places[index].candidate)
                addScaled(genome.factor(pool.families[candidate]), Array(pool.vector(candidate)), to: &x)
            }
            guard residual.set(sum: x, target: target) else { continue }
            for index in fitting.starts[text]..<fitting.starts[text + 1] {
                let place = fitting.places[index]
                let isApplied = memory.applied.contains(index)
                let isFree = !memory.applied.contains {
                    fitting.places[$0].first <= place.last && place.first <= fitting.places[$0].last
                }
                guard isApplied || isFree else { continue }
                let candidate = Int(place.candidate)
                sums.numbers[candidate].count += 1
                sums.numbers[candidate].curvature += residual.curvature
                // What a rule in force should have is what it has and what is still lacking.
                let own = isApplied ? residual.curvature * genome.factor(pool.families[candidate]) : 0
                var square: Float = 0
                pool.vectors.withRow(candidate, size) { v in
                    sums.slopes.withUnsafeMutableBufferPointer { slopes in
                        for d in 0..<size {
                            let slope = residual.slope[d] + own * v[d]
                            square += slope * slope
                            slopes[candidate * size + d] += slope
                        }
                    }
                }
                sums.numbers[candidate].squares += square
            }
        }
        return sums
    }
}
