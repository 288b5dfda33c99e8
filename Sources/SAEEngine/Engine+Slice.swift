import Annealing
import CVectorKernels
import Models
import Programs
import Rules
import Scoring
import Tokenization
import Vectors

/// How a slice of texts becomes vectors: all are read, then each is weighed, then the context rules of all are scored.
extension Engine {
    /// One text up to its program: pieces, annealing. Its records go behind those of the slice. `next` is the text to be
    /// read after it, if any.
    func read(
        _ text: UnsafeBufferPointer<UInt8>, next: UnsafeBufferPointer<UInt8>?, limits: TextLimits,
        temperature: Temperature, using workspace: inout Workspace
    ) -> RowOutcome {
        defer { workspace.slice.endText() }
        var used = text
        if text.count > limits.maximumTextBytes {
            guard limits.truncates else {
                return RowOutcome(status: .tooManyBytes, pieceCount: 0, isTruncated: false)
            }
            used = UnsafeBufferPointer(rebasing: text[..<characterBorder(in: text, atMost: limits.maximumTextBytes)])
        }
        // One that will be refused is never encoded: cut ahead, it would wait for another text at its place.
        let announced = next.flatMap { $0.count <= limits.maximumTextBytes ? $0 : nil }
        let wasCut = workspace.tokenizer.encode(
            used, next: announced, maximumPieces: limits.maximumPieces, into: &workspace.pieces)
        guard !wasCut || limits.truncates else {
            return RowOutcome(status: .tooManyPieces, pieceCount: 0, isTruncated: false)
        }
        let count = workspace.pieces.count
        guard count > 0 else { return RowOutcome(status: .noPieces, pieceCount: 0, isTruncated: false) }
        // Nobody looks at the programs of the other texts.
        let isRewritten = !annealer.rules.isEmpty && temperature != .infinite
        if isRewritten || next == nil { workspace.stream.load(workspace.pieces) }
        if isRewritten {
            anneal(&workspace.stream, using: &workspace.annealing, context: &workspace.gates)
            workspace.stream.operands.withUnsafeBufferPointer { workspace.slice.append($0) }
        } else {
            workspace.pieces.withIDs { workspace.slice.append($0) }
        }
        return RowOutcome(status: .ok, pieceCount: count, isTruncated: wasCut || used.count < text.count)
    }

    /// The discrete rules (section 6): they see the context of the pieces as they were read.
    private func anneal(
        _ stream: inout ProgramStream, using workspace: inout AnnealingWorkspace, context memory: inout GateMemory
    ) {
        let count = model.phrases.contextDimensions
        if count > 0 { stream.operands.withUnsafeBufferPointer { findContext(ofBag: $0, &memory) } }
        _ = annealer.anneal(
            &stream, context: memory.context.span.extracting(first: count), using: &workspace)
    }

    /// P x̂ of a plain sum; zeros for a sum without direction.
    func findContext(ofBag ids: UnsafeBufferPointer<UInt32>, _ memory: inout GateMemory) {
        memory.bag.withUnsafeMutableBufferPointer { bag in
            guard let x = bag.baseAddress else { return }
            x.update(repeating: 0, count: dimensions)
            sae_add_records(
                instructionSet.rawValue, model.tables.records.columns, ids.baseAddress, nil, ids.count, x)
            _ = normalize(x, count: dimensions, using: instructionSet, into: x)
            findContext(x, &memory.context)
        }
    }

    /// P x̂.
    private func findContext(_ unit: UnsafePointer<Float>, _ context: inout [Float]) {
        context.withUnsafeMutableBufferPointer { context in
            guard let u = context.baseAddress else { return }
            u.update(repeating: 0, count: context.count)
            projection.addProduct(with: unit, using: instructionSet, to: u)
        }
    }

    /// The vectors of a slice that has been read, and the name of the scorer's arithmetic where it took part.
    func run(
        _ outcomes: inout [RowOutcome], _ rows: Range<Int>, temperature: Temperature, using workspace: inout Workspace,
        into vectors: UnsafeMutablePointer<Float>
    ) -> String? {
        let (shape, columns) = (model.tables.shape, model.tables.records.columns)
        let isCoupled = isCoupled(temperature)
        workspace.slice.withPrograms { programs, features in
            for place in 0..<rows.count {
                // The next text's records come while this one is computed.
                if place == 0 { programs.prefetch(0, columns) }
                programs.prefetch(place + 1, columns)
                guard outcomes[rows.lowerBound + place].status == .ok else { continue }
                let ids = programs.ids(place)
                let sum = isCoupled ? features + place * shape.featureCount : vectors + place * dimensions
                guard weigh(ids, temperature: temperature, using: &workspace.gates, into: sum) else {
                    outcomes[rows.lowerBound + place] = .noDirection
                    continue
                }
                guard isCoupled, shape.couplingCount > 0 else { continue }
                sae_couplings(
                    instructionSet.rawValue, columns, model.tables.couplings, couplingScale(itemCount: ids.count),
                    ids.baseAddress, ids.count, sum + dimensions)
            }
        }
        let numerics =
            isCoupled ? applyContextRules(&outcomes, rows, using: &workspace.slice, into: vectors) : nil
        for place in 0..<rows.count where outcomes[rows.lowerBound + place].status != .ok {
            (vectors + place * dimensions).update(repeating: 0, count: dimensions)
        }
        return numerics
    }

    func isCoupled(_ temperature: Temperature) -> Bool {
        temperature != .infinite && model.tables.lifts.count > 0
    }

    /// The scale rules (algorithm.md, section 3): the plain sum gives the context, the context the weights, and these the
    /// sum, made unit. False when a sum has no direction.
    func weigh(
        _ ids: UnsafeBufferPointer<UInt32>, temperature: Temperature, using memory: inout GateMemory,
        into x: UnsafeMutablePointer<Float>
    ) -> Bool {
        let (records, set) = (model.tables.records.columns, instructionSet.rawValue)
        x.update(repeating: 0, count: dimensions)
        sae_add_records(set, records, ids.baseAddress, nil, ids.count, x)
        guard normalize(x, count: dimensions, using: instructionSet, into: x) else { return false }
        guard model.tables.shape.hasGates, temperature != .infinite else { return true }
        memory.reserve(itemCount: ids.count)
        for _ in 0..<sweepCount {
            findContext(x, &memory.context)
            sae_gate_weights(
                set, records, memory.context, model.tables.neighbours, 1 / degrees(temperature), ids.baseAddress,
                ids.count, &memory.weights)
            x.update(repeating: 0, count: dimensions)
            sae_add_records(set, records, ids.baseAddress, memory.weights, ids.count, x)
            guard normalize(x, count: dimensions, using: instructionSet, into: x) else { return false }
        }
        return true
    }

    private func degrees(_ temperature: Temperature) -> Float { temperature.degrees ?? model.tables.temperature }

    /// The context rules (section 5): bids of the whole slice, then couplings and what fired are added to each text's
    /// unit sum. The name of the arithmetic.
    private func applyContextRules(
        _ outcomes: inout [RowOutcome], _ rows: Range<Int>, using memory: inout SliceMemory,
        into vectors: UnsafeMutablePointer<Float>
    ) -> String {
        let (size, couplings) = (model.tables.shape.featureCount, model.tables.shape.couplingCount)
        return memory.features.withUnsafeMutableBufferPointer { features in
            guard let base = features.baseAddress else { return scorer.numerics }
            for place in 0..<rows.count where outcomes[rows.lowerBound + place].status != .ok {
                (base + place * size).update(repeating: 0, count: size)
            }
            let numerics = memory.session.fire(
                UnsafeBufferPointer(rebasing: features[..<(rows.count * size)]), into: &memory.fired)
            for place in 0..<rows.count where outcomes[rows.lowerBound + place].status == .ok {
                let y = base + place * size
                if couplings > 0 { couplingLifts.addProduct(with: y + dimensions, using: instructionSet, to: y) }
                model.tables.lifts.add(
                    memory.fired.rules(ofText: place), after: couplings,
                    weights: memory.fired.bids(ofText: place).baseAddress, using: instructionSet, to: y)
                if !normalize(y, count: dimensions, using: instructionSet, into: vectors + place * dimensions) {
                    outcomes[rows.lowerBound + place] = .noDirection
                }
            }
            return numerics
        }
    }
}

extension RowOutcome {
    fileprivate static let noDirection = RowOutcome(status: .noDirection, pieceCount: 0, isTruncated: false)
}

/// The largest cut of at most `limit` bytes that is not inside a UTF-8 sequence.
private func characterBorder(in text: UnsafeBufferPointer<UInt8>, atMost limit: Int) -> Int {
    var cut = limit
    while cut > 0, limit - cut < 4, text[cut] & 0xc0 == 0x80 { cut -= 1 }
    return text[cut] & 0xc0 == 0x80 ? limit : cut
}
