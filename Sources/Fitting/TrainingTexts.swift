import Annealing
import Bytes
import CVectorKernels
import Dispatch
import Programs
import Rules
import Tokenization
import Vectors

/// Texts as pieces, and their targets, as columns: what the kernels of fitting read.
package struct TrainingTexts: Sendable {
    package let dimensions: Int
    package private(set) var pieces: [UInt32] = []
    /// The pieces of text t are `pieces[starts[t]..<starts[t + 1]]`.
    package private(set) var starts: [UInt64] = [0]
    /// count × dimensions; times the text's scale a unit vector.
    package private(set) var targets: [Int8] = []
    package private(set) var targetScales: [Float] = []
    /// Texts kept aside, ascending, and texts to fit, ascending. A text without a piece, or kept for the end, is in neither.
    package private(set) var heldOut: [UInt32] = []
    package private(set) var fitted: [UInt32] = []
    /// Changed copies of held-out texts, kept aside like them.
    package private(set) var contrasts: [UInt32] = []

    /// Texts that were left out because they stand in `FittingOptions.excluded`.
    package private(set) var leftOutCount = 0

    /// What becomes of a text.
    package enum Use: Sendable { case fit, holdOut, contrast, keep, leaveOut }

    package init(dimensions: Int) { self.dimensions = dimensions }

    package var count: Int { targetScales.count }

    /// Adds texts with unit targets of `dimensions`, row after row. `use` says what each is for.
    package mutating func append(
        pieces texts: [[UInt32]], targets rows: [Float], use: (Int) -> Use
    ) {
        precondition(rows.count == texts.count * dimensions)
        for (index, ids) in texts.enumerated() {
            let number = UInt32(count)
            pieces.append(contentsOf: ids)
            starts.append(UInt64(pieces.count))
            var row = [Int8](repeating: 0, count: dimensions)
            let target = Array(rows[index * dimensions..<(index + 1) * dimensions])
            _ = sae_fit_quantize_row(target, dimensions, &row)
            targets.append(contentsOf: row)
            let norm = row.reduce(Float(0)) { $0 + Float($1) * Float($1) }.squareRoot()
            targetScales.append(norm > 0 ? 1 / norm : 0)
            guard !ids.isEmpty else { continue }
            switch use(index) {
            case .fit: fitted.append(number)
            case .holdOut: heldOut.append(number)
            case .contrast: contrasts.append(number)
            case .keep: break
            case .leaveOut: leftOutCount += 1
            }
        }
    }

    /// A target as a unit vector.
    package func target(_ text: Int) -> [Float] {
        targets[text * dimensions..<(text + 1) * dimensions].map { Float($0) * targetScales[text] }
    }

    /// How often each piece occurs in the fitted texts; phrases are not counted.
    package func pieceCounts(vocabularyCount: Int) -> [Int] {
        var counts = [Int](repeating: 0, count: vocabularyCount)
        for text in fitted {
            for at in starts[Int(text)]..<starts[Int(text) + 1] where pieces[Int(at)] < vocabularyCount {
                counts[Int(pieces[Int(at)])] += 1
            }
        }
        return counts
    }

    /// The columns as the kernels take them; valid within `body` only.
    func withColumns<R>(_ body: (sae_fit_texts) -> R) -> R {
        pieces.withUnsafeBufferPointer { pieces in
            starts.withUnsafeBufferPointer { starts in
                targets.withUnsafeBufferPointer { targets in
                    targetScales.withUnsafeBufferPointer { scales in
                        body(
                            sae_fit_texts(
                                pieces: pieces.baseAddress, starts: starts.baseAddress,
                                targets: targets.baseAddress, target_scales: scales.baseAddress))
                    }
                }
            }
        }
    }
}

/// The longest text that is fitted, in pieces; the teacher reads 128 of its own.
private let maximumPieces = Int(SAE_FIT_MAXIMUM_PIECES)
/// Rows read and projected at a time.
private let blockCount = 4_096

/// Cuts texts into pieces and lets discrete rules rewrite them, each thread a run of lines; the result, record ids, does
/// not depend on the threads.
func tokenize(
    _ lines: TextLines, count: Int, model: PieceModel, phrases: RuleSet, threadCount: Int
) -> [[UInt32]] {
    let annealer = Annealer(rules: phrases)
    let results = Slots<[[UInt32]]>(count: threadCount)
    DispatchQueue.concurrentPerform(iterations: threadCount) { thread in
        var tokenizer = Tokenizer(model: model)
        var buffer = PieceBuffer()
        var stream = ProgramStream()
        var workspace = AnnealingWorkspace()
        let noContext: [Float] = []
        results[thread] = (count * thread / threadCount..<count * (thread + 1) / threadCount).map { line in
            lines.bytes[lines.range(line)].withUnsafeBufferPointer {
                _ = tokenizer.encode($0, maximumPieces: maximumPieces, into: &buffer)
            }
            guard !phrases.isEmpty, buffer.count > 0 else { return Array(buffer.ids) }
            stream.load(buffer)
            _ = annealer.anneal(&stream, context: noContext.span, using: &workspace)
            return Array(stream.operands.prefix(maximumPieces))
        }
    }
    return results.values.flatMap { $0 ?? [] }
}

/// Reads all rows as unit vectors, projected on `basis` if there is one; row after row.
func unitRows(_ array: NumpyArray, basis: Matrix?, threadCount: Int) throws(FittingError) -> [Float] {
    let width = basis?.columnCount ?? array.columnCount
    let blocks = (array.rowCount + blockCount - 1) / blockCount
    let results = Slots<[Float]>(count: blocks)
    let failures = Slots<Int>(count: blocks)
    DispatchQueue.concurrentPerform(iterations: min(threadCount, max(1, blocks))) { thread in
        for block in stride(from: thread, to: blocks, by: threadCount) {
            let rows = block * blockCount..<min(array.rowCount, (block + 1) * blockCount)
            var values = rows.flatMap { array.row($0) }
            if let basis {
                values = [Float](unsafeUninitializedCapacity: rows.count * width) { buffer, count in
                    multiply(values, rowCount: rows.count, by: basis, into: buffer)
                    count = rows.count * width
                }
            }
            for row in 0..<rows.count where !normalizeRow(&values, row * width..<(row + 1) * width) {
                failures[block] = rows.lowerBound + row
                return
            }
            results[block] = values
        }
    }
    if let row = failures.values.compactMap({ $0 }).min() { throw .zeroVector(path: array.path, row: row) }
    var all: [Float] = []
    all.reserveCapacity(array.rowCount * width)
    for values in results.values { all.append(contentsOf: values ?? []) }
    return all
}

/// Scales a run of values to unit length; false when their sum of squares is zero or not finite.
func normalizeRow(_ values: inout [Float], _ range: Range<Int>) -> Bool {
    var squares = 0.0
    for at in range { squares += Double(values[at]) * Double(values[at]) }
    guard squares > 0, squares.isFinite else { return false }
    let inverse = Float(1 / squares.squareRoot())
    for at in range { values[at] *= inverse }
    return true
}

/// A place for the result of each iteration of `concurrentPerform`.
///
/// Safe as `Sendable`: an iteration writes its own slot only, and slots are read when all are done.
package final class Slots<Value>: @unchecked Sendable {
    private let slots: UnsafeMutableBufferPointer<Value?>

    package init(count: Int) {
        slots = .allocate(capacity: count)
        slots.initialize(repeating: nil)
    }

    deinit {
        slots.deinitialize()
        slots.deallocate()
    }

    package subscript(index: Int) -> Value? {
        get { slots[index] }
        set { slots[index] = newValue }
    }

    package var values: [Value?] { Array(slots) }
}
