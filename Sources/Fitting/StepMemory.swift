import CVectorKernels
import Glibc
import Programs
import Vectors

/// The parameters that a forward pass reads.
///
/// Safe as `Sendable`: nobody writes them while it runs.
struct ForwardModel: @unchecked Sendable {
    let shape: ModelShape
    let layout: DenseLayout
    let records: UnsafeMutablePointer<Float>
    let dense: UnsafeMutablePointer<Float>

    func view(_ part: Range<Int>, stride: Int, isTransposed: Bool = false) -> MatrixView {
        MatrixView(dense + part.lowerBound, stride: stride, isTransposed: isTransposed)
    }

    var gates: sae_fit_gates {
        sae_fit_gates(
            P: dense + layout.projection.lowerBound, d: dense + layout.neighbours.lowerBound,
            e: dense + layout.couplings.lowerBound)
    }
}

/// The memory of one step over a batch of texts, kept from one step to the next, and what is done with it.
///
/// Safe as `Sendable`: chunks write rows of their own; parts of the update write records of their own.
final class StepMemory: @unchecked Sendable {
    /// Texts that one thread takes at a time: whole groups, few enough that their rows stay in the second-level cache.
    private(set) var chunkTextCount = 1
    let features, bids, bidGradients, outputs, outputGradients, bags, contextGradients, cosines, denseGradients: Column<Float>
    private let shape: ModelShape
    private let textCount: Int
    private let contexts, inverses, bagGradients, sumGradients, featureGradients, temperatures: Column<Float>
    private let heads, order, offsets: Column<UInt32>
    private var weights, slopes, moves: Column<Float>
    private var next, owners: Column<UInt32>
    /// Of each chunk: the derivatives by d and e.
    private let chunkGradients: Column<Float>
    private(set) var count = 0

    init(shape: ModelShape, recordCount: Int, textCount: Int) {
        (self.shape, self.textCount) = (shape, textCount)
        func rows(_ width: Int) -> Column<Float> { Column(0, count: textCount * width) }
        features = rows(shape.featureCount)
        featureGradients = rows(shape.featureCount)
        bids = rows(shape.ruleCount)
        bidGradients = rows(shape.ruleCount)
        outputs = rows(shape.dimensions)
        outputGradients = rows(shape.dimensions)
        bags = rows(shape.dimensions)
        bagGradients = rows(shape.dimensions)
        sumGradients = rows(shape.dimensions)
        contexts = rows(shape.contextRank)
        contextGradients = rows(shape.contextRank)
        (cosines, temperatures, inverses) = (rows(1), rows(1), rows(2))
        denseGradients = Column(0, count: DenseLayout(shape).count)
        chunkGradients = rows(4 * shape.neighbourRank + 2 * shape.couplingCount)
        heads = Column(.max, count: recordCount)
        order = Column(0, count: textCount)
        offsets = Column(0, count: textCount + 1)
        (weights, slopes, moves) = (Column(0, count: 0), Column(0, count: 0), Column(0, count: 0))
        (next, owners) = (Column(0, count: 0), Column(0, count: 0))
    }

    var batch: sae_fit_batch {
        sae_fit_batch(
            order: order.base, count: count, temperatures: temperatures.base, offsets: offsets.base, bags: bags.base,
            contexts: contexts.base, inverses: inverses.base, features: features.base, weights: weights.base,
            slopes: slopes.base, moves: moves.base, bag_gradients: bagGradients.base, sum_gradients: sumGradients.base,
            context_gradients: contextGradients.base, heads: heads.base, next: next.base, owners: owners.base)
    }

    /// Makes room for a batch, finds where the occurrences of each text go, and draws the temperatures.
    func prepare(for texts: [UInt32], of source: TrainingTexts, options: FittingOptions, step: Int) {
        precondition(texts.count <= textCount)
        count = texts.count
        chunkTextCount = options.groupCount * max(1, 64 / options.groupCount)
        var random = CounterRandom(options.seed, 3, UInt64(step))
        let (low, high) = (log(options.lowestTemperature), log(options.highestTemperature))
        var total: UInt32 = 0
        for (row, text) in texts.enumerated() {
            order[row] = text
            temperatures[row] = low == high ? options.lowestTemperature : exp(low + (high - low) * random.unitFloat())
            offsets[row] = total
            total += UInt32(source.starts[Int(text) + 1] - source.starts[Int(text)])
        }
        offsets[texts.count] = total
        let moved = 2 * shape.neighbourRank + 2 * shape.couplingCount
        guard next.count < Int(total) else { return }
        let room = Int(total) + Int(total) / 4
        (weights, slopes, moves) = (Column(0, count: room), Column(0, count: room), Column(0, count: room * moved))
        (next, owners) = (Column(0, count: room), Column(0, count: room))
    }

    /// Forward pass of a chunk, and the backward pass down to the records and the small dense parts.
    func runChunk(
        _ chunk: Int, model: ForwardModel, texts: sae_fit_texts, options: FittingOptions, withGradients: Bool
    ) {
        let rows = chunk * chunkTextCount..<min(count, (chunk + 1) * chunkTextCount)
        let (first, n) = (rows.lowerBound, rows.count)
        let (size, width, rules, couplings) = (shape.dimensions, shape.featureCount, shape.ruleCount, shape.couplingCount)
        let layout = model.layout
        var (texts, batch, gates) = (texts, batch, model.gates)
        sae_fit_forward(model.records, shape.kernelShape, &texts, &gates, &batch, first, rows.upperBound)
        let (x, y) = (features.base + first * width, outputs.base + first * size)
        for row in 0..<n { (y + row * size).update(from: x + row * width, count: size) }
        let bid = bids.base + first * rules
        if rules > 0 {
            multiply(
                MatrixView(x, stride: width), model.view(layout.rules, stride: width, isTransposed: true), rows: n, columns: rules,
                terms: width, into: bid, stride: rules)
            sae_fit_threshold(bid, model.dense + layout.thresholds.lowerBound, n, rules)
            multiply(
                MatrixView(bid, stride: rules), model.view(layout.ruleVectors, stride: size), rows: n, columns: size,
                terms: rules, into: y, stride: size, adding: true)
        }
        if couplings > 0 {
            multiply(
                MatrixView(x + size, stride: width), model.view(layout.lift, stride: size), rows: n, columns: size,
                terms: couplings, into: y, stride: size, adding: true)
        }
        let gradient = outputGradients.base + first * size
        sae_fit_loss(
            &texts, size, order.base + first, n, options.groupCount, options.similarityWeight, y,
            withGradients ? gradient : nil, cosines.base + first)
        guard withGradients else { return }
        let featureGradient = featureGradients.base + first * width
        if rules > 0 {
            let bidGradient = bidGradients.base + first * rules
            multiply(
                MatrixView(gradient, stride: size), model.view(layout.ruleVectors, stride: size, isTransposed: true), rows: n,
                columns: rules, terms: size, into: bidGradient, stride: rules)
            sae_fit_mask(bidGradient, bid, n * rules)
            multiply(
                MatrixView(bidGradient, stride: rules), model.view(layout.rules, stride: width), rows: n, columns: width,
                terms: rules, into: featureGradient, stride: width)
        } else {
            featureGradient.update(repeating: 0, count: n * width)
        }
        for row in 0..<n {
            for d in 0..<size { featureGradient[row * width + d] += gradient[row * size + d] }
        }
        if couplings > 0 {
            multiply(
                MatrixView(gradient, stride: size), model.view(layout.lift, stride: size, isTransposed: true), rows: n,
                columns: couplings, terms: size, into: featureGradient + size, stride: width, adding: true)
        }
        let small = 4 * shape.neighbourRank + 2 * couplings
        let parts = chunkGradients.base + chunk * small
        parts.update(repeating: 0, count: small)
        sae_fit_backward(
            model.records, shape.kernelShape, &texts, &gates, &batch, featureGradient, parts,
            parts + 4 * shape.neighbourRank, first, rows.upperBound)
    }

    /// The gradients by d, e and θ, summed in the order of chunks and texts.
    func sumSmallParts(_ layout: DenseLayout, shape: ModelShape, textCount: Int, chunkCount: Int) {
        let small = 4 * shape.neighbourRank + 2 * shape.couplingCount
        for at in 0..<small {
            var sum: Float = 0
            for chunk in 0..<chunkCount { sum += chunkGradients[chunk * small + at] }
            denseGradients[layout.neighbours.lowerBound + at] = sum
        }
        let (first, rules) = (layout.thresholds.lowerBound, shape.ruleCount)
        for rule in 0..<rules { denseGradients[first + rule] = 0 }
        for text in 0..<textCount {
            for rule in 0..<rules { denseGradients[first + rule] -= bidGradients[text * rules + rule] }
        }
    }
}
