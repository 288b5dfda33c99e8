import CVectorKernels
import Dispatch
import Glibc
import Vectors

/// Fits the rows of a bag lexicon to teacher vectors by Adam (algorithm.md, sections 9 and 10): with x the sum of
/// a text's rows, the loss of a batch is Σ (1 − x̂·t) + λ/(g − 1) · Σ (x̂ᵢ·x̂ⱼ − tᵢ·tⱼ)², the second sum over the pairs
/// of each group of g neighbours. A step is two parallel loops with all sums in a fixed order: seed, options and
/// texts decide every bit, the number of threads does not.
package struct LexiconFitter: Sendable {
    package let options: FittingOptions
    package let vocabularyCount: Int
    /// vocabularyCount × dimensions.
    package internal(set) var rows: [Float]
    /// Adam's moments, like the rows.
    var means: [Float]
    var variances: [Float]
    /// Steps done since the start.
    package internal(set) var step = 0

    package init(options: FittingOptions, start rows: [Float]) {
        precondition(rows.count % options.dimensions == 0)
        self.options = options
        self.rows = rows
        vocabularyCount = rows.count / options.dimensions
        means = [Float](repeating: 0, count: rows.count)
        variances = means
    }

    /// Texts a step: whole groups.
    package var stepTextCount: Int { options.batchCount / options.groupCount * options.groupCount }

    /// Fits one epoch: every text once, in groups that are drawn anew. `observe` hears of each step.
    /// - Returns: the mean of 1 − x̂·t over the epoch.
    package mutating func fitEpoch(
        _ epoch: Int, on texts: TrainingTexts, observe: (FittingProgress) -> Void
    ) -> Double {
        let order = neighbourGroups(
            of: texts, groupCount: options.groupCount,
            key: options.seed &* 1_000_003 &+ UInt64(epoch), threadCount: options.threadCount)
        let steps = (order.count + stepTextCount - 1) / stepTextCount
        var memory = StepMemory(vocabularyCount: vocabularyCount)
        var loss = 0.0
        for index in 0..<steps {
            let batch = Array(order[index * stepTextCount..<min(order.count, (index + 1) * stepTextCount)])
            loss += fitStep(batch, of: texts, stepCount: steps * options.epochCount, using: &memory)
            let done = index * stepTextCount + batch.count
            observe(
                FittingProgress(
                    epoch: epoch, textsDone: done, textCount: order.count, meanLoss: loss / Double(done)))
        }
        return loss / Double(max(1, order.count))
    }

    /// One step of `stepCount` in the schedule; returns Σ (1 − x̂·t).
    mutating func fitStep(
        _ batch: [UInt32], of texts: TrainingTexts, stepCount: Int, using memory: inout StepMemory
    ) -> Double {
        let adam = adamNumbers(stepCount: stepCount)
        let (dimensions, threads) = (options.dimensions, options.threadCount)
        let groups = (batch.count + options.groupCount - 1) / options.groupCount
        memory.prepare(for: batch, of: texts)
        step += 1
        return texts.withColumns { columns in
            memory.withBatch(batch, options: options) { batchColumns in
                rows.withUnsafeMutableBufferPointer { rows in
                    means.withUnsafeMutableBufferPointer { means in
                        variances.withUnsafeMutableBufferPointer { variances in
                            var adam = adam
                            adam.means = means.baseAddress
                            adam.variances = variances.baseAddress
                            let work = StepWork(
                                rows: rows.baseAddress, texts: columns, batch: batchColumns, adam: adam)
                            DispatchQueue.concurrentPerform(iterations: threads) { part in
                                var work = work
                                sae_fit_forward(
                                    work.rows, dimensions, &work.texts, &work.batch,
                                    groups * part / threads, groups * (part + 1) / threads)
                            }
                            DispatchQueue.concurrentPerform(iterations: threads) { part in
                                var work = work
                                sae_fit_update(
                                    work.rows, dimensions, &work.texts, &work.batch, &work.adam,
                                    UInt32(part), UInt32(threads))
                            }
                        }
                    }
                }
                return (0..<batch.count).reduce(0.0) { $0 + 1 - Double(batchColumns.cosines[$1]) }
            }
        }
    }

    /// Rate by schedule (a linear rise over 30 steps, a cosine to 0), with Adam's bias corrections in it.
    private func adamNumbers(stepCount: Int) -> sae_fit_adam {
        let count = Double(step + 1)
        let rise = min(1, count / 30)
        let fall = (1 + cos(Double.pi * Double(step) / Double(max(1, stepCount)))) / 2
        let (beta1, beta2) = (Double(options.beta1), Double(options.beta2))
        let correction = (1 - pow(beta2, count)).squareRoot() / (1 - pow(beta1, count))
        return sae_fit_adam(
            means: nil, variances: nil, rate: Float(Double(options.rate) * rise * fall * correction),
            beta1: options.beta1, beta2: options.beta2, epsilon: 1e-8)
    }
}

/// How far an epoch is.
package struct FittingProgress: Sendable {
    /// From 0.
    package let epoch: Int
    package let textsDone: Int
    package let textCount: Int
    /// Mean of 1 − cosine over the epoch so far.
    package let meanLoss: Double
}

/// What the threads of one step share.
///
/// Safe as `Sendable`: groups (forward) and rows (update) are divided between the threads; all else is only read.
private struct StepWork: @unchecked Sendable {
    let rows: UnsafeMutablePointer<Float>?
    var texts: sae_fit_texts
    var batch: sae_fit_batch
    var adam: sae_fit_adam
}

/// The memory of a step, kept from one to the next.
struct StepMemory {
    private(set) var cosines: [Float] = []
    private(set) var differences: [Float] = []
    private(set) var gradients: [Float] = []
    private var units: [Float] = []
    private var offsets: [UInt32] = []
    private var heads: [UInt32]
    private var next: [UInt32] = []
    private var owners: [UInt32] = []

    init(vocabularyCount: Int) { heads = [UInt32](repeating: .max, count: vocabularyCount) }

    /// Makes room for a batch and finds where the occurrences of each text go.
    mutating func prepare(for batch: [UInt32], of texts: TrainingTexts) {
        var total: UInt32 = 0
        offsets.removeAll(keepingCapacity: true)
        for text in batch {
            offsets.append(total)
            total += UInt32(texts.starts[Int(text) + 1] - texts.starts[Int(text)])
        }
        offsets.append(total)
        grow(&cosines, to: batch.count, 0)
        grow(&differences, to: batch.count, 0)
        grow(&units, to: batch.count * texts.dimensions, 0)
        grow(&gradients, to: batch.count * texts.dimensions, 0)
        grow(&next, to: Int(total), 0)
        grow(&owners, to: Int(total), 0)
    }

    /// The columns as the kernels take them; valid within `body` only.
    mutating func withBatch<R>(
        _ batch: [UInt32], options: FittingOptions, _ body: (sae_fit_batch) -> R
    ) -> R {
        batch.withUnsafeBufferPointer { order in
            cosines.withUnsafeMutableBufferPointer { cosines in
                differences.withUnsafeMutableBufferPointer { differences in
                    units.withUnsafeMutableBufferPointer { units in
                        gradients.withUnsafeMutableBufferPointer { gradients in
                            offsets.withUnsafeBufferPointer { offsets in
                                heads.withUnsafeMutableBufferPointer { heads in
                                    next.withUnsafeMutableBufferPointer { next in
                                        owners.withUnsafeMutableBufferPointer { owners in
                                            body(
                                                sae_fit_batch(
                                                    order: order.baseAddress, count: batch.count,
                                                    group: options.groupCount,
                                                    similarity_weight: options.similarityWeight,
                                                    cosines: cosines.baseAddress,
                                                    differences: differences.baseAddress,
                                                    units: units.baseAddress, gradients: gradients.baseAddress,
                                                    offsets: offsets.baseAddress, heads: heads.baseAddress,
                                                    next: next.baseAddress, owners: owners.baseAddress))
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    private func grow<T>(_ array: inout [T], to count: Int, _ value: T) {
        if array.count < count { array.append(contentsOf: repeatElement(value, count: count - array.count)) }
    }
}
