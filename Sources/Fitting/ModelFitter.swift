import CVectorKernels
import Dispatch
import Glibc
import Programs
import Vectors

/// Fits all numbers of a model to teacher vectors by Adam (algorithm.md, sections 3 to 5, 9 and 10). With y the vector of
/// a text before its length is made 1, the loss of a batch is Σ (1 − ŷ·t) + λ/(g − 1) · Σ (ŷᵢ·ŷⱼ − tᵢ·tⱼ)², the second sum
/// over the pairs of each group of g neighbours. A step is two parallel loops, over chunks of texts and over parts of the
/// parameters, with all sums in a fixed order: seed, options and texts decide every bit, the number of threads does not.
package final class ModelFitter {
    package let options: FittingOptions
    /// Steps done since the start.
    package internal(set) var step = 0
    package let records, recordMeans, recordVariances: Column<Float>
    package let dense, denseMeans, denseVariances: Column<Float>
    /// What the forward pass reads: the parameters themselves, or their int8 forms in quantisation-aware epochs.
    private var roundedRecords: Column<Float>?
    private var roundedDense: Column<Float>?
    private let layout: DenseLayout
    private let memory: StepMemory
    private var shape: ModelShape { options.shape }

    package init(options: FittingOptions, start: ModelParameters) {
        self.options = options
        records = Column(start.records, filler: 0)
        recordMeans = Column(0, count: start.records.count)
        recordVariances = Column(0, count: start.records.count)
        dense = Column(start.dense, filler: 0)
        denseMeans = Column(0, count: start.dense.count)
        denseVariances = Column(0, count: start.dense.count)
        layout = DenseLayout(start.shape)
        memory = StepMemory(shape: start.shape, recordCount: start.recordCount, textCount: options.stepTextCount)
    }

    package var parameters: ModelParameters {
        var result = ModelParameters(shape: shape, meanings: [], seed: 0)
        result.records = records.values
        result.dense = dense.values
        return result
    }

    func restore(_ saved: FittingCheckpoint) {
        step = saved.step
        for (values, target, shared) in [
            (saved.numbers, records, dense), (saved.means, recordMeans, denseMeans),
            (saved.variances, recordVariances, denseVariances),
        ] {
            for index in 0..<target.count { target[index] = values[index] }
            for index in 0..<shared.count { shared[index] = values[target.count + index] }
        }
    }

    func checkpoint(epochCount: Int, best: ModelParameters, agreement: Double) -> FittingCheckpoint {
        FittingCheckpoint(
            epochCount: epochCount, step: step, numbers: records.values + dense.values,
            means: recordMeans.values + denseMeans.values, variances: recordVariances.values + denseVariances.values,
            bestAgreement: agreement, bestNumbers: best.numbers)
    }

    /// Fits one epoch: every text once, in groups that are drawn anew. `observe` hears of each step.
    /// - Returns: the mean of 1 − ŷ·t over the epoch.
    package func fitEpoch(_ epoch: Int, on texts: TrainingTexts, observe: (FittingProgress) -> Void) -> Double {
        let order = neighbourGroups(
            of: texts, groupCount: options.groupCount,
            key: options.seed &* 1_000_003 &+ UInt64(epoch), threadCount: options.threadCount)
        let isRounding = epoch >= options.epochCount - options.roundedEpochCount
        if isRounding {
            let rounded = parameters.rounded()
            roundedRecords = Column(rounded.records, filler: 0)
            roundedDense = Column(rounded.dense, filler: 0)
        }
        let size = options.stepTextCount
        let steps = (order.count + size - 1) / size
        var loss = 0.0
        for index in 0..<steps {
            let batch = Array(order[index * size..<min(order.count, (index + 1) * size)])
            loss += fitStep(batch, of: texts, stepCount: steps * options.epochCount)
            let done = index * size + batch.count
            observe(
                FittingProgress(epoch: epoch, textsDone: done, textCount: order.count, meanLoss: loss / Double(done)))
        }
        return loss / Double(max(1, order.count))
    }

    /// One step of `stepCount` in the schedule; returns Σ (1 − ŷ·t).
    package func fitStep(_ batch: [UInt32], of texts: TrainingTexts, stepCount: Int) -> Double {
        memory.prepare(for: batch, of: texts, options: options, step: step)
        let (recordAdam, denseAdam) = (adam(options.rate, stepCount), adam(options.denseRate, stepCount))
        let model = ForwardModel(
            shape: shape, layout: layout, records: (roundedRecords ?? records).base, dense: (roundedDense ?? dense).base)
        let (memory, options) = (memory, options)
        texts.withColumns { columns in
            let work = Shared(columns)
            let chunks = (batch.count + memory.chunkTextCount - 1) / memory.chunkTextCount
            run(chunks) { chunk in
                memory.runChunk(chunk, model: model, texts: work.value, options: options, withGradients: true)
            }
            let jobs = denseJobs(textCount: batch.count, chunkCount: chunks, adam: denseAdam)
            let parts = options.threadCount
            let (records, means, variances, rounded) = (records, recordMeans, recordVariances, roundedRecords)
            run(jobs.count + parts) { index in
                guard index < parts else { return jobs[index - parts]() }
                var (texts, batch) = (work.value, memory.batch)
                sae_fit_update(
                    records.base, means.base, variances.base, rounded?.base, options.shape.kernelShape, &texts, &batch,
                    recordAdam, UInt32(index), UInt32(parts))
            }
        }
        if let roundedDense {
            let values = parameters(dense: dense.values).roundedDense()
            for (index, value) in values.enumerated() { roundedDense[index] = value }
        }
        step += 1
        return (0..<batch.count).reduce(0.0) { $0 + 1 - Double(memory.cosines[$1]) }
    }

    private func parameters(dense: [Float]) -> ModelParameters {
        var result = ModelParameters(shape: shape, meanings: [], seed: 0)
        result.dense = dense
        return result
    }

    private func run(_ count: Int, _ body: @Sendable (Int) -> Void) {
        let threads = options.threadCount
        guard threads > 1 else { return (0..<count).forEach(body) }
        DispatchQueue.concurrentPerform(iterations: count, execute: body)
    }

    /// The gradient of each dense part, each followed by Adam's step there: in blocks, so that threads share them.
    private func denseJobs(textCount: Int, chunkCount: Int, adam: sae_fit_adam) -> [@Sendable () -> Void] {
        let (memory, layout, shape) = (memory, layout, shape)
        let (dense, means, variances, gradients) = (dense, denseMeans, denseVariances, memory.denseGradients)
        @Sendable func stepAdam(_ range: Range<Int>) {
            let first = range.lowerBound
            sae_fit_adam_step(
                dense.base + first, means.base + first, variances.base + first, gradients.base + first, range.count, adam)
        }
        var jobs: [@Sendable () -> Void] = []
        let (size, features, rules) = (shape.dimensions, shape.featureCount, shape.ruleCount)
        func product(
            _ range: Range<Int>, rows: Range<Int>, columns: Int, _ left: UnsafeMutablePointer<Float>, _ leftWidth: Int,
            _ right: UnsafeMutablePointer<Float>, _ rightWidth: Int
        ) -> @Sendable () -> Void {
            let (left, right) = (Shared(left), Shared(right))
            let block = range.lowerBound + rows.lowerBound * columns..<range.lowerBound + rows.upperBound * columns
            let output = Shared(gradients.base + block.lowerBound)
            return {
                multiply(
                    MatrixView(left.value + rows.lowerBound, stride: leftWidth, isTransposed: true),
                    MatrixView(right.value, stride: rightWidth), rows: rows.count, columns: columns, terms: textCount,
                    into: output.value, stride: columns)
                stepAdam(block)
            }
        }
        for block in 0..<4 where rules > 0 {
            let rows = rules * block / 4..<rules * (block + 1) / 4
            jobs.append(
                product(
                    layout.rules, rows: rows, columns: features, memory.bidGradients.base, rules,
                    memory.features.base, features))
            jobs.append(
                product(layout.ruleVectors, rows: rows, columns: size, memory.bids.base, rules, memory.outputGradients.base, size))
        }
        if shape.contextRank > 0 {
            jobs.append(
                product(
                    layout.projection, rows: 0..<shape.contextRank, columns: size, memory.contextGradients.base,
                    shape.contextRank, memory.bags.base, size))
        }
        if shape.couplingCount > 0 {
            jobs.append(
                product(
                    layout.lift, rows: 0..<shape.couplingCount, columns: size, memory.features.base + size, features,
                    memory.outputGradients.base, size))
        }
        jobs.append {
            memory.sumSmallParts(layout, shape: shape, textCount: textCount, chunkCount: chunkCount)
            for range in [layout.neighbours, layout.couplings, layout.thresholds] { stepAdam(range) }
        }
        return jobs
    }

    /// Rate by schedule (a linear rise over 30 steps, a cosine to 0), with Adam's bias corrections in it.
    private func adam(_ highest: Float, _ stepCount: Int) -> sae_fit_adam {
        let count = Double(step + 1)
        let rise = min(1, count / 30)
        let fall = (1 + cos(Double.pi * Double(step) / Double(max(1, stepCount)))) / 2
        let (beta1, beta2) = (Double(options.beta1), Double(options.beta2))
        let correction = (1 - pow(beta2, count)).squareRoot() / (1 - pow(beta1, count))
        return sae_fit_adam(
            rate: Float(Double(highest) * rise * fall * correction),
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

/// Safe as `Sendable`: pointers that threads read, or write in parts of their own.
struct Shared<Value>: @unchecked Sendable {
    let value: Value
    init(_ value: Value) { self.value = value }
}
