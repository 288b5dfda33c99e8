package import Bytes
import Glibc
package import Models
import Programs
import Rules
import SAEEngine
package import Tokenization
import Vectors

/// From texts and a teacher's vectors to a model: vocabulary, pieces, targets, lexicon, quantisation.
package struct ModelFit {
    /// What a fit reads. Texts are held out from the first pair only.
    package struct Inputs: Sendable {
        package var pairs: [TeacherPair]
        /// `.npy`, teacher's dimensions × model's: a projection instead of the principal axes of the first pair.
        package var basis: String?
        /// `basis` need not be the one that `parent` was fitted with.
        package var acceptsOtherBasis = false
        /// A serialised SentencePiece model instead of one trained on the texts.
        package var pieces: String?
        /// `.npy`, a row a piece: the teacher's vectors of the pieces alone, where the lexicon starts.
        package var start: String?
        /// Discrete rules as text, whose phrases are fitted like pieces. Their bids may not look at the context.
        package var phrases: String?
        /// The model to go on from: its pieces, its discrete rules, its shape and its numbers. It takes the place of `pieces`,
        /// `start` and `phrases`.
        package var parent: Model?
        /// Changed copies of held-out texts (scripts/teacher/perturb.py --of-held-out): they are scored, never fitted.
        package var contrasts: TeacherPair?

        package init(pairs: [TeacherPair]) { self.pairs = pairs }
    }

    /// What a fit tells while it runs.
    package enum Event: Sendable {
        case stage(String)
        case progress(FittingProgress)
        /// Of the model that a fit goes on from, before its first step.
        case parent(Scores)
        /// After an epoch, of the numbers as they would be shipped: rounded.
        case epoch(Int, meanLoss: Double, scores: Scores)
        /// Of the parameters that were chosen, before rounding and after.
        case chosen(exact: Scores, rounded: Scores)
        /// Of the same, rounded, at another temperature.
        case temperature(Float, Scores)
    }

    package typealias Scores = (natural: HeldOutScore, contrast: HeldOutScore?)

    /// Mean cosine to the teacher that a model to go on from must reach: of vectors in another basis it is near 0.
    private static let leastParentCosine = 0.2

    private let inputs: Inputs
    private let options: FittingOptions
    private let observe: (Event) -> Void

    package init(_ inputs: Inputs, options: FittingOptions, observe: @escaping (Event) -> Void) {
        self.inputs = inputs
        var options = options
        if let parent = inputs.parent {
            options.shape = parent.tables.shape
            options.vocabularyCount = parent.tables.vocabularyCount
        }
        self.options = options
        self.observe = observe
    }

    /// Fits, and returns the model with the rows of the epoch that agreed best with the teacher on held-out texts.
    /// - Parameter checkpoint: written after every epoch; with `resumes`, the fit goes on from it.
    package func run(name: String, checkpoint: String?, resumes: Bool) throws(FittingError) -> ModelContents {
        try options.validate()
        var lines: [TextLines] = []
        var arrays: [NumpyArray] = []
        for pair in inputs.pairs + (inputs.contrasts.map { [$0] } ?? []) {
            observe(.stage("reading \(pair.texts) and \(pair.vectors)"))
            let array = try reading { () throws(FileError) in try NumpyArray(pair.vectors) }
            let texts = try reading { () throws(FileError) in
                try TextLines(contentsOf: pair.texts, maximumCount: array.rowCount)
            }
            try check(pair, texts, array)
            if texts.hasMore {
                observe(.stage("\(pair.texts) has more lines than \(pair.vectors) has rows: those after the first \(texts.count) are not used"))
            }
            lines.append(texts)
            arrays.append(array)
        }
        let pieceBytes = try pieceModel(Array(lines.prefix(inputs.pairs.count)))
        let pieces = try open(pieceBytes)
        let basis = try basis(arrays, lines[0])
        let phraseText = try phraseText()
        let phrases = try phrases(phraseText, pieces)
        let texts = try trainingTexts(lines, arrays, pieces, phrases, basis)
        if !options.excluded.isEmpty { observe(.stage("\(texts.leftOutCount) texts are left out: they stand in files of --without")) }
        guard !texts.heldOut.isEmpty, texts.fitted.count >= options.batchCount else {
            throw .nothingToFit(texts: texts.fitted.count, heldOut: texts.heldOut.count)
        }
        let origin = provenance(lines, arrays, pieceBytes, texts, basis, try startArray(), phraseText)
        let start =
            if let parent = inputs.parent { ModelParameters(parent.tables) } else {
                ModelParameters(
                    shape: options.shape, meanings: withPhrases(try startRows(basis, texts, pieces), phrases),
                    seed: options.seed)
            }
        let parameters = try fitEpochs(
            texts, start: start, identity: digest(of: origin), checkpoint: resumes ? checkpoint : nil,
            savingTo: checkpoint)
        return try contents(name: name, parameters, phrases, texts: texts, pieces: pieceBytes, origin: origin)
    }

    private func fitEpochs(
        _ texts: TrainingTexts, start: ModelParameters, identity: [UInt8], checkpoint: String?, savingTo path: String?
    ) throws(FittingError) -> ModelParameters {
        let fitter = ModelFitter(options: options, start: start)
        var best: (parameters: ModelParameters, agreement: Double) = (start, -.infinity)
        var first = 0
        if let checkpoint, access(checkpoint, F_OK) == 0 {
            let saved = try FittingCheckpoint(
                checkpoint, identity: identity, floatCount: start.records.count + start.dense.count)
            fitter.restore(saved)
            best.parameters.numbers = saved.bestNumbers
            best.agreement = saved.bestAgreement
            first = saved.epochCount
            observe(.stage("going on after epoch \(first)"))
        } else if inputs.parent != nil {
            // The result is never worse, by the measure that chooses epochs, than what it goes on from.
            let scores = score(start.rounded(), texts)
            observe(.parent(scores))
            guard scores.natural.cosine >= Self.leastParentCosine else {
                throw .otherSpace(cosine: scores.natural.cosine)
            }
            best.agreement = choice(scores)
        }
        for epoch in first..<max(first, options.epochCount) {
            let loss = fitter.fitEpoch(epoch, on: texts) { observe(.progress($0)) }
            guard loss.isFinite else { throw .diverged(epoch: epoch + 1) }
            let scores = score(fitter.parameters.rounded(), texts)
            observe(.epoch(epoch, meanLoss: loss, scores: scores))
            let agreement = choice(scores)
            if agreement > best.agreement { best = (fitter.parameters, agreement) }
            guard let path else { continue }
            try fitter.checkpoint(epochCount: epoch + 1, best: best.parameters, agreement: best.agreement)
                .write(to: path, identity: identity)
        }
        return best.parameters
    }

    /// What decides between epochs.
    private func choice(_ scores: Scores) -> Double {
        (scores.natural.agreement + (scores.contrast?.agreement ?? scores.natural.agreement)) / 2
    }

    /// Scores on the held-out texts, and on these and their changed copies together.
    private func score(_ parameters: ModelParameters, _ texts: TrainingTexts, temperature: Float? = nil) -> Scores {
        func score(_ rows: [UInt32]) -> HeldOutScore {
            HeldOutScore(
                parameters, texts: texts, rows: rows, temperature: temperature ?? options.temperature,
                threadCount: options.threadCount)
        }
        let contrasts = texts.contrasts
        return (score(texts.heldOut), contrasts.isEmpty ? nil : score(Array(texts.heldOut.prefix(2_048)) + contrasts))
    }

    private func contents(
        name: String, _ parameters: ModelParameters, _ phrases: RuleSet, texts: TrainingTexts, pieces: [UInt8],
        origin: [(key: String, value: String)]
    ) throws(FittingError) -> ModelContents {
        let rounded = parameters.rounded()
        let shipped = score(rounded, texts)
        observe(.chosen(exact: score(parameters, texts), rounded: shipped))
        if options.shape.hasGates {
            for temperature: Float in [1, 1.25, 1.5, 1.75, 2, 2.5, 3] {
                observe(.temperature(temperature, score(rounded, texts, temperature: temperature)))
            }
        }
        var provenance = origin + [
            ("held-out-cosine", "\(Float(shipped.natural.cosine))"),
            ("held-out-agreement", "\(Float(shipped.natural.agreement))"),
        ]
        if let contrast = shipped.contrast { provenance.append(("contrast-agreement", "\(Float(contrast.agreement))")) }
        var contents = parameters.contents(
            name: name, temperature: options.temperature, phrases: phrases, pieceModel: pieces, provenance: provenance)
        do throws(ModelError) {
            try Engine.recordSelfTest("The quick brown fox jumps over the lazy dog.", in: &contents)
        } catch { throw .model(error) }
        return contents
    }
}

extension ModelFit {
    /// Trains a vocabulary on the lines of files.
    package static func trainPieces(_ texts: [TextLines], vocabularyCount: Int) throws(FittingError) -> [UInt8] {
        let lines = texts.flatMap { file in (0..<file.count).map { Array(file[$0]) } }
        do throws(TokenizationError) {
            return try PieceTrainer.train(
                texts: lines, vocabularyCount: vocabularyCount, maximumTexts: lines.count)
        } catch { throw .tokenization(error) }
    }

    /// The pieces of a vocabulary as texts for the teacher, in the order of their ids; empty for bytes and controls.
    package static func pieceTexts(_ model: PieceModel) -> [[UInt8]] {
        (0..<UInt32(model.vocabularyCount)).map { id in
            let text = String(decoding: model.piece(id), as: UTF8.self)
            let isControl = text.utf8.count > 2 && text.utf8.first == UInt8(ascii: "<") && text.hasSuffix(">")
            let words = text.split(separator: "\u{2581}").joined(separator: " ")
            return isControl ? [] : Array(words.utf8)
        }
    }

    private func check(_ pair: TeacherPair, _ texts: TextLines, _ array: NumpyArray) throws(FittingError) {
        guard texts.count == array.rowCount else {
            throw .tooFewTexts(
                texts: pair.texts, lines: texts.count, vectors: pair.vectors, rows: array.rowCount)
        }
        guard let path = pair.scales else { return }
        // Targets are unit vectors, so that a positive scale a row changes nothing: it must only be one.
        let scales = try reading { () throws(FileError) in try NumpyArray(path) }
        guard scales.rowCount == array.rowCount, scales.columnCount == 1 else {
            throw .scales(path: path, count: scales.rowCount * scales.columnCount, rows: array.rowCount)
        }
        for row in 0..<scales.rowCount {
            let scale = scales.row(row)[0]
            guard scale > 0, scale.isFinite else { throw .zeroVector(path: path, row: row) }
        }
    }

    private func pieceModel(_ lines: [TextLines]) throws(FittingError) -> [UInt8] {
        if let parent = inputs.parent {
            do throws(ModelError) { return try parent.pieceModel() } catch { throw .model(error) }
        }
        if let path = inputs.pieces {
            let file = try reading { () throws(FileError) in try MappedFile(path) }
            return withExtendedLifetime(file) { Array(file.bytes) }
        }
        observe(.stage("training a vocabulary of \(options.vocabularyCount) pieces"))
        return try Self.trainPieces(lines, vocabularyCount: options.vocabularyCount)
    }

    private func open(_ bytes: [UInt8]) throws(FittingError) -> PieceModel {
        do throws(TokenizationError) {
            return try PieceModel(serialized: bytes)
        } catch { throw .tokenization(error) }
    }

    /// The projection of vectors that are wider than the model, or nil when none is.
    private func basis(_ arrays: [NumpyArray], _ first: TextLines) throws(FittingError) -> Matrix? {
        let size = options.shape.dimensions
        if let path = inputs.basis {
            let basis = try projectionMatrix(path, columnCount: size)
            let wanted = inputs.parent?.provenance.first { $0.key == "basis-sha256" }?.value
            guard inputs.acceptsOtherBasis || wanted == nil || wanted == digest(of: basis) else { throw .otherBasis(path: path) }
            return basis
        }
        let width = arrays[0].columnCount
        for array in arrays where array.columnCount != width {
            throw .width(vectors: array.path, columns: array.columnCount, expected: "\(width)")
        }
        guard width != size else { return nil }
        guard width > size else {
            throw .width(vectors: arrays[0].path, columns: width, expected: "\(size) or more")
        }
        guard inputs.parent == nil else { throw .noBasis(vectors: arrays[0].path, columns: width, dimensions: size) }
        observe(.stage("finding \(size) principal axes of \(width)"))
        let rows = try unitRows(arrays[0], basis: nil, threadCount: options.threadCount)
        var moment = SecondMoment(dimensions: width)
        var block: [Float] = []
        for row in 0..<arrays[0].rowCount {
            if options.use(of: row, of: first, isFirstFile: true) == .fit { block.append(contentsOf: rows[row * width..<(row + 1) * width]) }
            if block.count >= 4_096 * width || row == arrays[0].rowCount - 1 {
                moment.add(block)
                block.removeAll(keepingCapacity: true)
            }
        }
        guard let axes = moment.principalAxes(count: size) else { throw .noAxes }
        observe(.stage("they hold \(Float(100 * axes.energyShare)) % of the energy"))
        return axes.basis
    }

    private func trainingTexts(
        _ lines: [TextLines], _ arrays: [NumpyArray], _ model: PieceModel, _ phrases: RuleSet, _ basis: Matrix?
    ) throws(FittingError) -> TrainingTexts {
        var texts = TrainingTexts(dimensions: options.shape.dimensions)
        for (number, array) in arrays.enumerated() {
            observe(.stage("cutting \(array.rowCount) texts into pieces, reading their vectors"))
            let pieces = tokenize(
                lines[number], count: array.rowCount, model: model, phrases: phrases, threadCount: options.threadCount)
            let isWide = array.columnCount != options.shape.dimensions
            if isWide, array.columnCount != basis?.rowCount {
                throw .width(
                    vectors: array.path, columns: array.columnCount,
                    expected: "\(options.shape.dimensions) or \(basis?.rowCount ?? options.shape.dimensions)")
            }
            let targets = try unitRows(array, basis: isWide ? basis : nil, threadCount: options.threadCount)
            texts.append(pieces: pieces, targets: targets) {
                if number >= inputs.pairs.count { return .contrast }
                return options.use(of: $0, of: lines[number], isFirstFile: number == 0)
            }
        }
        return texts
    }

    /// The discrete rules as they were written; empty without any.
    private func phraseText() throws(FittingError) -> [UInt8] {
        guard inputs.parent == nil, let path = inputs.phrases else { return [] }
        let file = try reading { () throws(FileError) in try MappedFile(path) }
        return withExtendedLifetime(file) { Array(file.bytes) }
    }

    private func phrases(_ text: [UInt8], _ pieces: PieceModel) throws(FittingError) -> RuleSet {
        if let rules = inputs.parent?.phrases {
            guard rules.contextDimensions == 0 else {
                throw .options("the rules of the model to go on from look at the context, for which a fit has none")
            }
            return rules
        }
        let path = inputs.phrases ?? ""
        let names = PieceNames((0..<UInt32(pieces.vocabularyCount)).map { pieces.piece($0) })
        let rules: RuleSet
        do throws(RuleError) { rules = try RuleSyntax.parse(text, ofFile: path, names: names) } catch { throw .rules(error) }
        guard rules.contextDimensions == 0 else {
            throw .options("\(path): a fit has no context for the bids of its rules")
        }
        return rules
    }

    /// The meanings of the pieces, then of the phrases: the sum of what a phrase takes the place of, nothing for one that is
    /// added.
    private func withPhrases(_ meanings: [Float], _ phrases: RuleSet) -> [Float] {
        let size = options.shape.dimensions
        var rows = meanings + [Float](repeating: 0, count: phrases.phraseCount * size)
        for rule in phrases.rules where rule.edit == .replace {
            guard case .sequence(let elements, gaps: _) = rule.pattern else { continue }
            let target = (phrases.vocabularyCount + Int(rule.phrase)) * size
            for case .record(let id) in elements where Int(id) < phrases.vocabularyCount {
                for d in 0..<size { rows[target + d] += rows[Int(id) * size + d] }
            }
        }
        return rows
    }

    /// Rows to start from: the pieces' own vectors × a/(a + frequency), or small random numbers without them.
    private func startRows(
        _ basis: Matrix?, _ texts: TrainingTexts, _ pieces: PieceModel
    ) throws(FittingError) -> [Float] {
        let (size, pieceCount) = (options.shape.dimensions, pieces.vocabularyCount)
        guard let array = try startArray() else {
            var random = CounterRandom(options.seed, 1)
            return (0..<pieceCount * size).map { _ in (random.unitFloat() - 0.5) * 0.02 }
        }
        guard array.rowCount == pieceCount else {
            throw .start(path: array.path, rows: array.rowCount, pieces: pieceCount)
        }
        let isWide = array.columnCount != size
        guard !isWide || array.columnCount == basis?.rowCount else {
            throw .width(vectors: array.path, columns: array.columnCount, expected: "\(basis?.rowCount ?? size)")
        }
        var rows = try unitRows(array, basis: isWide ? basis : nil, threadCount: options.threadCount)
        let counts = texts.pieceCounts(vocabularyCount: pieceCount)
        let total = Double(max(1, counts.reduce(0, +)))
        for (piece, text) in Self.pieceTexts(pieces).enumerated() {
            // Bytes and controls mean nothing alone: they start at zero.
            let weight = text.isEmpty ? 0 : Float(options.startFrequency / (options.startFrequency + Double(counts[piece]) / total))
            for at in piece * size..<(piece + 1) * size { rows[at] *= weight }
        }
        return rows
    }

    private func startArray() throws(FittingError) -> NumpyArray? {
        guard inputs.parent == nil, let path = inputs.start else { return nil }
        return try reading { () throws(FileError) in try NumpyArray(path) }
    }

    private func provenance(
        _ lines: [TextLines], _ arrays: [NumpyArray], _ pieces: [UInt8], _ texts: TrainingTexts, _ basis: Matrix?,
        _ start: NumpyArray?, _ phraseText: [UInt8]
    ) -> [(key: String, value: String)] {
        var origin: [(key: String, value: String)] = []
        for (number, pair) in inputs.pairs.enumerated() {
            let hash = SHA256()
            lines[number].bytes.withUnsafeBytes { hash.update($0) }
            lines[number].ends.withUnsafeBytes { hash.update($0) }
            origin.append(("texts-\(number + 1)", "\(fileName(pair.texts)) \(lines[number].count) lines"))
            origin.append(("texts-\(number + 1)-sha256", hexadecimal(hash.finalize())))
            origin.append(("vectors-\(number + 1)-sha256", hexadecimal(SHA256.digest(of: arrays[number].fileBytes))))
        }
        if inputs.contrasts != nil, let array = arrays.last, let texts = lines.last {
            // They are scored, and so decide which epoch is taken.
            let hash = SHA256()
            texts.bytes.withUnsafeBytes { hash.update($0) }
            origin.append(("contrasts-sha256", hexadecimal(hash.finalize())))
            origin.append(("contrast-vectors-sha256", hexadecimal(SHA256.digest(of: array.fileBytes))))
        }
        if let basis { origin.append(("basis-sha256", digest(of: basis))) }
        origin.append(("pieces-sha256", hexadecimal(pieces.withUnsafeBytes { SHA256.digest(of: $0) })))
        if let parent = inputs.parent {
            origin.append(("from", hexadecimal(parent.digest)))
            origin.append(("from-name", parent.name))
        } else {
            origin.append(("start", start.map { hexadecimal(SHA256.digest(of: $0.fileBytes)) } ?? "random"))
        }
        origin.append(("texts-fitted", "\(texts.fitted.count)"))
        origin.append(("texts-held-out", "\(texts.heldOut.count)"))
        if !options.excluded.isEmpty { origin.append(("texts-left-out", "\(texts.leftOutCount)")) }
        if inputs.parent == nil, inputs.phrases != nil {
            origin.append(("phrases-sha256", hexadecimal(phraseText.withUnsafeBytes { SHA256.digest(of: $0) })))
        }
        origin.append(("options", options.summary))
        return origin
    }

    private func digest(of origin: [(key: String, value: String)]) -> [UInt8] {
        let text = origin.map { "\($0.key)=\($0.value)\n" }.joined()
        return Array(text.utf8).withUnsafeBytes { SHA256.digest(of: $0) }
    }

    private func digest(of basis: Matrix) -> String {
        hexadecimal(basis.values.withUnsafeBytes { SHA256.digest(of: $0) })
    }

    private func fileName(_ path: String) -> String { path.split(separator: "/").last.map(String.init) ?? path }
}
