import CVectorKernels
import Dispatch
import Models
import Programs
import Synchronization
import Vectors

extension Engine {
    /// What the texts' vectors are before they are made unit, on the scale of the records: a record r more in a text gives
    /// about the direction of sum + r, if it weighs 1 and no other weight, coupling or bid changes. A row of `dimensions` a
    /// text, zeros for a text without a vector; the same bits on any number of threads.
    package func sums(_ texts: TextBatch, threads: Int) -> [Float] {
        let count = max(1, threads)
        let parts = Mutex([[Float]?](repeating: nil, count: count))
        DispatchQueue.concurrentPerform(iterations: count) { part in
            let range = texts.count * part / count..<texts.count * (part + 1) / count
            let sums = sums(texts, range)
            parts.withLock { $0[part] = sums }
        }
        var whole: [Float] = []
        whole.reserveCapacity(texts.count * dimensions)
        for case let part? in parts.withLock({ $0 }) { whole.append(contentsOf: part) }
        return whole
    }

    private func sums(_ texts: TextBatch, _ range: Range<Int>) -> [Float] {
        var workspace = makeWorkspace()
        var batch = EmbeddingBatch(dimensions: dimensions)
        var scratch = [Float](repeating: 0, count: dimensions)
        var sums: [Float] = []
        sums.reserveCapacity(range.count * dimensions)
        for first in stride(from: range.lowerBound, to: range.upperBound, by: SliceMemory.textCount) {
            let slice = first..<min(range.upperBound, first + SliceMemory.textCount)
            embed(texts, slice, using: &workspace, into: &batch)
            for place in 0..<slice.count {
                let isOK = batch.outcomes[place].status == .ok
                let length = isOK ? length(ofSum: place, using: &workspace, &scratch) : 0
                for value in batch.vector(place) { sums.append(value * length) }
            }
        }
        return sums
    }

    /// |Σ w E| of a text of the slice that was embedded last, times |y| where context rules were added to the unit sum.
    private func length(ofSum place: Int, using workspace: inout Workspace, _ x: inout [Float]) -> Float {
        let (size, set) = (model.tables.shape.featureCount, instructionSet.rawValue)
        var length: Float = 0
        workspace.slice.withPrograms { programs, features in
            let ids = programs.ids(place)
            x.withUnsafeMutableBufferPointer { buffer in
                guard let x = buffer.baseAddress, weigh(ids, temperature: .fitted, using: &workspace.gates, into: x) else { return }
                x.update(repeating: 0, count: dimensions)
                let isWeighted = model.tables.shape.hasGates
                sae_add_records(
                    set, model.tables.records.columns, ids.baseAddress, isWeighted ? workspace.gates.weights : nil, ids.count, x)
                length = sae_dot(x, x, dimensions).squareRoot()
                let y = features + place * size
                if isCoupled(.fitted) { length *= sae_dot(y, y, dimensions).squareRoot() }
            }
        }
        return length
    }
}
