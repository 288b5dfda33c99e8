import CVectorKernels
import Dispatch
import Vectors

/// The lexicon while it is fitted: a row a piece, so that the normalised sum of a text's rows points where the
/// teacher's vector does. Loss 1 − cosine, Adam over the rows that occur in a batch, cosine decay after a warm-up
/// (algorithm, sections 9 and 10). Deterministic for a seed, whatever the number of threads.
struct LexiconFit {
    private let options: FitOptions
    private let pieces: [UInt32]
    private let starts: [UInt64]
    private let targets: TeacherTargets
    private var fitted: [UInt32]
    private let heldOut: [UInt32]
    private let rowCount: Int

    private(set) var rows: [Float]
    private var means: [Float]
    private var variances: [Float]
    private(set) var finishedEpochs = 0

    var stepsPerEpoch: Int { fitted.count / options.batch }

    /// - Parameter starts: where each text's pieces begin, with the end behind; texts without a piece are left out.
    /// - Parameter start: `vocabulary × dimensions`, the vectors of the pieces alone; nil starts from small random rows.
    init(
        pieces: [UInt32], starts: [UInt64], targets: TeacherTargets, vocabularyCount: Int, start: [Float]?,
        options: FitOptions
    ) throws(FitError) {
        self.options = options
        self.pieces = pieces
        self.starts = starts
        self.targets = targets
        rowCount = vocabularyCount
        var order = (0..<UInt32(starts.count - 1)).filter { starts[Int($0)] < starts[Int($0) + 1] }
        var random = CounterRandom(options.seed, 0)
        shuffle(&order, using: &random)
        let kept = min(options.heldOut, order.count / 10)
        guard kept > 0, order.count - kept >= options.batch else { throw .tooFewTexts(count: order.count) }
        heldOut = Array(order[..<kept])
        fitted = order[kept...].sorted()
        let size = vocabularyCount * options.dimensions
        means = [Float](repeating: 0, count: size)
        variances = [Float](repeating: 0, count: size)
        if let start {
            rows = start
            weighStart()
        } else {
            var random = CounterRandom(options.seed, 1)
            rows = (0..<size).map { _ in (random.unitFloat() - 0.5) * 0.02 }
        }
    }

    /// Rare pieces keep their own vector, frequent ones begin near zero.
    private mutating func weighStart() {
        var frequency = [Double](repeating: 0, count: rowCount)
        var total = 0.0
        for text in fitted {
            for index in starts[Int(text)]..<starts[Int(text) + 1] {
                frequency[Int(pieces[Int(index)])] += 1
                total += 1
            }
        }
        for row in 0..<rowCount {
            let weight = Float(options.smoothing / (options.smoothing + frequency[row] / total))
            for index in row * options.dimensions..<(row + 1) * options.dimensions { rows[index] *= weight }
        }
    }

    /// One pass over the fitted texts; `progress` hears of each step with the mean loss so far.
    /// - Returns: the mean loss.
    mutating func runEpoch(progress: (_ step: Int, _ loss: Double) -> Void) -> Double {
        var order = fitted
        var random = CounterRandom(options.seed, 2 + UInt64(finishedEpochs))
        shuffle(&order, using: &random)
        var scratch = BatchMemory(options: options, rowCount: rowCount)
        var loss = 0.0
        for step in 0..<stepsPerEpoch {
            let texts = Array(order[step * options.batch..<(step + 1) * options.batch])
            loss += self.step(texts, number: finishedEpochs * stepsPerEpoch + step, &scratch)
            progress(step + 1, loss / Double((step + 1) * options.batch))
        }
        finishedEpochs += 1
        return loss / Double(stepsPerEpoch * options.batch)
    }

    private mutating func step(_ texts: [UInt32], number: Int, _ memory: inout BatchMemory) -> Double {
        var occurrences: UInt32 = 0
        for (index, text) in texts.enumerated() {
            memory.offsets[index] = occurrences
            occurrences += UInt32(starts[Int(text) + 1] - starts[Int(text)])
        }
        memory.reserve(occurrences: Int(occurrences))
        let adam = adamStep(number)
        let threads = options.threads
        let dimensions = options.dimensions
        withTexts { columns in
            memory.withPointers { memory in
                texts.withUnsafeBufferPointer { order in
                    rows.withUnsafeMutableBufferPointer { rows in
                        means.withUnsafeMutableBufferPointer { means in
                            variances.withUnsafeMutableBufferPointer { variances in
                                let job = StepJob(
                                    columns: columns, order: order, rows: rows.baseAddress,
                                    means: means.baseAddress, variances: variances.baseAddress, memory: memory,
                                    adam: adam, dimensions: dimensions, threads: threads)
                                DispatchQueue.concurrentPerform(iterations: threads) { job.forward(part: $0) }
                                DispatchQueue.concurrentPerform(iterations: threads) { job.update(part: $0) }
                            }
                        }
                    }
                }
            }
        }
        return memory.cosines.reduce(0) { $0 + 1 - Double($1) }
    }

    private func adamStep(_ number: Int) -> sae_fit_adam {
        let total = Double(stepsPerEpoch * options.epochs)
        let warm = min(1, Double(number + 1) / Double(max(1, options.warmUpSteps)))
        let decay = 0.5 * (1 + cosine(ofHalfTurns: Double(number) / total))
        let bias1 = 1 - power(Double(options.beta1), number + 1)
        let bias2 = 1 - power(Double(options.beta2), number + 1)
        let rate = Double(options.rate) * warm * decay * bias2.squareRoot() / bias1
        return sae_fit_adam(
            rate: Float(rate), beta1: options.beta1, beta2: options.beta2, epsilon: 1e-8)
    }

    /// Mean cosine to the teacher on the texts that are never fitted, with `rows` in place of the lexicon's.
    func heldOutCosine(_ rows: [Float]) -> Double {
        var cosines = [Float](repeating: 0, count: heldOut.count)
        withTexts { columns in
            sae_fit_forward(rows, options.dimensions, columns, heldOut, 0, heldOut.count, &cosines, nil)
        }
        return cosines.reduce(0) { $0 + Double($1) } / Double(cosines.count)
    }

    private func withTexts(_ body: (UnsafePointer<sae_fit_texts>) -> Void) {
        pieces.withUnsafeBufferPointer { pieces in
            starts.withUnsafeBufferPointer { starts in
                targets.elements.withUnsafeBufferPointer { elements in
                    targets.scales.withUnsafeBufferPointer { scales in
                        var columns = sae_fit_texts(
                            pieces: pieces.baseAddress, starts: starts.baseAddress, targets: elements.baseAddress,
                            target_scales: scales.baseAddress)
                        withUnsafePointer(to: &columns) { body($0) }
                    }
                }
            }
        }
    }

    /// All that a later run needs to go on from here.
    var state: (rows: [Float], means: [Float], variances: [Float], epochs: Int) {
        get { (rows, means, variances, finishedEpochs) }
        set { (rows, means, variances, finishedEpochs) = newValue }
    }
}
