import CVectorKernels
import Models
package import Programs
import Rules
import Vectors

/// All numbers of a model as floats.
package struct ModelParameters: Sendable, Equatable {
    package let shape: ModelShape
    /// records × `shape.recordWidth`.
    package var records: [Float]
    /// What all texts share, in the order of `DenseLayout`.
    package var dense: [Float]

    package var recordCount: Int { records.count / shape.recordWidth }

    /// Records and shared parts in one column.
    package var numbers: [Float] {
        get { records + dense }
        set {
            let count = records.count
            records = Array(newValue[..<count])
            dense = Array(newValue[count...])
        }
    }

    /// A start: the meanings are given, everything else is small random numbers or zero, so that the first step computes
    /// nearly the bag.
    /// - Parameter meanings: records × D.
    package init(shape: ModelShape, meanings: [Float], seed: UInt64) {
        self.shape = shape
        let (size, width) = (shape.dimensions, shape.recordWidth)
        let count = meanings.count / size
        records = [Float](repeating: 0, count: count * width)
        var random = CounterRandom(seed, 2)
        func small(_ scale: Float) -> Float { (2 * random.unitFloat() - 1) * scale }
        let gates = shape.contextRank + 2 * shape.neighbourRank
        for record in 0..<count {
            let first = record * width
            for d in 0..<size { records[first + d] = meanings[record * size + d] }
            for at in first + size..<first + size + gates { records[at] = small(0.1) }
            for at in first + size + gates..<first + width - 16 { records[at] = small(0.3) }
        }
        let layout = DenseLayout(shape)
        dense = [Float](repeating: 0, count: layout.count)
        for at in layout.projection { dense[at] = small(0.1) }
        for at in layout.neighbours { dense[at] = 1 }
        for at in layout.couplings { dense[at] = 1 }
        let scale = 1.7 / Float(max(1, shape.featureCount)).squareRoot()
        for at in layout.rules { dense[at] = small(scale) }
        for at in layout.ruleVectors { dense[at] = small(0.01) }
        for at in layout.lift { dense[at] = small(0.01) }
    }

    /// The numbers as a model file holds them: records as `sae_fit_round_record` says, rules and lifts rounded to int8 row by row.
    package func rounded() -> ModelParameters {
        var result = self
        let width = shape.recordWidth
        for record in 0..<recordCount {
            result.records.withUnsafeMutableBufferPointer { output in
                records.withUnsafeBufferPointer { input in
                    guard let input = input.baseAddress, let output = output.baseAddress else { return }
                    sae_fit_round_record(input + record * width, shape.kernelShape, output + record * width)
                }
            }
        }
        result.dense = roundedDense()
        return result
    }

    func roundedDense() -> [Float] {
        let layout = DenseLayout(shape)
        var result = dense
        for (range, columns) in [
            (layout.projection, shape.dimensions), (layout.rules, shape.featureCount),
            (layout.ruleVectors, shape.dimensions), (layout.lift, shape.dimensions),
        ] where !range.isEmpty {
            let rows = QuantizedRows(quantizing: Array(dense[range]), dimensions: columns)
            for (index, element) in rows.elements.enumerated() {
                result[range.lowerBound + index] = Float(element) * rows.scales[index / columns]
            }
        }
        return result
    }
}

extension ModelParameters {
    /// The numbers as a model file holds them, without the self-test.
    func contents(
        name: String, temperature: Float, phrases: RuleSet, pieceModel: [UInt8],
        provenance: [(key: String, value: String)]
    ) -> ModelContents {
        let (width, layout) = (shape.recordWidth, DenseLayout(shape))
        var packed = PackedRecords(shape: shape)
        for first in stride(from: 0, to: records.count, by: width) {
            packed.append(
                records[first..<first + shape.recordElementCount], bias: records[first + shape.recordElementCount])
        }
        func rows(_ ranges: [Range<Int>], _ columns: Int) -> QuantizedRows {
            QuantizedRows(quantizing: ranges.flatMap { dense[$0] }, dimensions: columns)
        }
        return ModelContents(
            name: name, records: packed, projection: rows([layout.projection], shape.dimensions),
            neighbours: Array(dense[layout.neighbours]), couplings: Array(dense[layout.couplings]),
            rules: rows([layout.rules], shape.featureCount), thresholds: Array(dense[layout.thresholds]),
            lifts: rows([layout.lift, layout.ruleVectors], shape.dimensions), phrases: phrases,
            temperature: temperature, pieceModel: pieceModel, pieceCount: phrases.vocabularyCount, provenance: provenance, selfTest: ("", []))
    }
}
