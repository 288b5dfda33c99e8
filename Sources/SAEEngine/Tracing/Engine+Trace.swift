import Bytes
import CVectorKernels
import Models
import Programs
import Tokenization
import Vectors

extension Engine {
    /// Embeds one text and tells how it went. Allocates freely: for people, not for the hot path.
    /// - Parameters:
    ///   - text: any bytes, usually UTF-8.
    ///   - isExact: also finds the least energy of the discrete rules, by search.
    package func trace(
        _ text: [UInt8], limits: TextLimits = TextLimits(), temperature: Temperature = .fitted, isExact: Bool = false
    ) throws(TraceError) -> Trace {
        var workspace = makeWorkspace()
        var batch = EmbeddingBatch(dimensions: dimensions)
        var texts = TextBatch()
        texts.append(utf8: text)
        embed(texts, limits: limits, temperature: temperature, using: &workspace, into: &batch)
        guard batch.outcomes[0].status == .ok else {
            throw TraceError(status: batch.outcomes[0].status, limits: limits)
        }
        let final = finalProgram(of: workspace, temperature: temperature)
        let pieces = tracedPieces(text, workspace)
        let steps = tracedSteps(final, vector: batch.vectors)
        let parts = VectorParts(
            final, tables: model.tables, sumLength: steps.sumLength, length: steps.length)
        let shares = parts.products(with: batch.vectors)
        let isWeighted = model.tables.shape.hasGates && temperature != .infinite
        let logWeights = isWeighted ? tracedLogWeights(final.items.map(\.id), context: workspace.gates.context) : []
        let items = final.items.indices.map { index in
            let (record, weight) = final.items[index]
            let span = Int(workspace.stream.placements[index].first)...Int(workspace.stream.placements[index].last)
            return Trace.Item(
                record: record, isPhrase: record >= model.tables.vocabularyCount, pieces: span,
                text: pieces[span].map(\.text).joined(),
                logWeight: isWeighted ? logWeights[index] : Trace.LogWeight(), weight: weight,
                share: shares.items[index])
        }
        let lengths = parts.couplingLengths
        let couplings = parts.couplings.enumerated().map { index, pair in
            Trace.Coupling(
                left: pair.left, right: pair.right, offset: pair.offset, strength: lengths[index],
                share: shares.couplings[index])
        }
        return Trace(
            modelName: modelName, generation: generation(of: workspace), numerics: numerics(of: workspace), text: text,
            degrees: temperature == .infinite ? nil : temperature.degrees ?? model.tables.temperature,
            pieces: pieces,
            annealing: temperature == .infinite ? nil : tracedAnnealing(pieces.map(\.id), isExact: isExact), items: items, couplings: couplings,
            rules: tracedRules(final, parts, shares: shares.rules, length: steps.length),
            ruleCount: model.tables.shape.ruleCount, steps: steps.steps, program: final.instructions(model.tables),
            vector: batch.vectors, parts: parts)
    }

    private func tracedPieces(_ text: [UInt8], _ workspace: borrowing Workspace) -> [Trace.Piece] {
        let (ids, begins, ends) = text.withUnsafeBufferPointer { workspace.tokenizer.encodeWithSpans($0) }
        return ids.indices.map {
            Trace.Piece(
                id: ids[$0], text: String(decoding: model.pieces.piece(ids[$0]), as: UTF8.self),
                bytes: Int(begins[$0])..<Int(ends[$0]))
        }
    }

    /// The log-weights, as `sae_gate_weights` defines them, in their parts.
    private func tracedLogWeights(_ ids: [UInt32], context: [Float]) -> [Trace.LogWeight] {
        let (records, shape) = (model.tables.records, model.tables.shape)
        let answers = ids.map { records.neighbourAnswer(Int($0)) }
        let influences = ids.map { records.neighbourInfluence(Int($0)) }
        // The gates see the context in 127 steps.
        let rounded = QuantizedRows(quantizing: context, dimensions: max(1, context.count))
        let step = rounded.scales.first ?? 0
        return ids.indices.map { i in
            let q = records.contextAnswer(Int(ids[i]))
            var product: Float = 0
            for index in q.elements.indices { product += q.elements[index] * Float(rounded.elements[index]) }
            let neighbours = [-2, -1, 1, 2].enumerated().map { place, offset -> Float in
                guard ids.indices.contains(i + offset) else { return 0 }
                let (m, k) = (answers[i], influences[i + offset])
                let first = place * shape.neighbourRank
                var sum: Float = 0
                for j in m.elements.indices { sum += model.tables.neighbours[first + j] * m.elements[j] * k.elements[j] }
                return m.scale * k.scale * sum
            }
            return Trace.LogWeight(
                bias: records.bias(Int(ids[i])), context: q.scale * step * product, neighbours: neighbours)
        }
    }

    /// The unit vector after each step, and the lengths |x| and |y| that the sums had.
    private func tracedSteps(
        _ program: FinalProgram, vector: [Float]
    ) -> (steps: [Trace.Step], sumLength: Float, length: Float) {
        let (tables, shape) = (model.tables, model.tables.shape)
        var steps: [Trace.Step] = []
        func note(_ name: Trace.StepName, _ sum: [Float]) -> Float {
            var unit = sum
            let length = sae_sum_of_squares(instructionSet.rawValue, sum, sum.count).squareRoot()
            _ = unit.withUnsafeMutableBufferPointer { normalize(sum, count: sum.count, using: instructionSet, into: $0.baseAddress) }
            steps.append(Trace.Step(name: name, vector: unit, cosine: dot(unit, vector)))
            return length
        }
        func sum(_ weights: [Float]?) -> [Float] {
            var x = [Float](repeating: 0, count: dimensions)
            sae_add_records(
                instructionSet.rawValue, tables.records.columns, program.items.map(\.id), weights,
                program.items.count, &x)
            return x
        }
        var sumLength = note(.bag, sum(nil))
        if shape.hasGates, program.isCoupled || program.items.contains(where: { $0.weight != 1 }) {
            sumLength = note(.gates, sum(program.items.map(\.weight)))
        }
        guard program.isCoupled, let x = steps.last?.vector else { return (steps, sumLength, 1) }
        let families = VectorParts(program, tables: tables, sumLength: sumLength, length: 1).families
        var y = x
        var length: Float = 1
        if shape.couplingCount > 0 {
            addScaled(1, families.couplings, to: &y)
            length = note(.couplings, y)
        }
        if shape.ruleCount > 0 {
            addScaled(1, families.rules, to: &y)
            length = note(.rules, y)
        }
        return (steps, sumLength, length)
    }

    private func tracedRules(
        _ program: FinalProgram, _ parts: VectorParts, shares: [Float], length: Float
    ) -> [Trace.FiredRule] {
        let (tables, shape) = (model.tables, model.tables.shape)
        return program.fired.enumerated().map { index, fired in
            let row = shape.couplingCount + Int(fired.rule)
            let elements = tables.lifts.elements(row)
            let own = dot(elements, elements).squareRoot()
            let strength = parts.rules[index].weight * tables.lifts.scale(row) * own
            // Of [x̂ ; z], what stands for the items: K_r · (w_i E_i / |x|).
            let key = Array(tables.rules.elements(Int(fired.rule)).prefix(dimensions))
            let factor = tables.rules.scale(Int(fired.rule)) * length
            let causes = parts.items.enumerated().map { Trace.Cause(item: $0, amount: factor * dot($1, key)) }
                .filter { $0.amount > 0 }.sorted { $0.amount > $1.amount }
            return Trace.FiredRule(
                rule: fired.rule, bid: fired.bid, strength: strength,
                cosine: strength > 0 ? shares[index] / strength : 0, share: shares[index],
                causes: Array(causes.prefix(3)))
        }
    }
}
