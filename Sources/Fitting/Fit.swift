import Bytes
import Glibc
package import Models
import Tokenization
import Vectors

/// From texts and a teacher's vectors to a model: vocabulary, pieces, targets, lexicon, quantisation.
package struct Fit {
    /// What a fit reads.
    package struct Inputs: Sendable {
        package var pairs: [CorpusPair]
        /// `.npy`, teacher's dimensions × model's: a projection instead of principal axes of the first vectors.
        package var basis: String?
        /// A serialised SentencePiece model instead of one trained on the texts.
        package var pieceModel: String?
        /// `.npy`, a row a piece: the teacher's vectors of the pieces alone, where the lexicon starts.
        package var start: String?

        package init(pairs: [CorpusPair]) { self.pairs = pairs }
    }

    /// What a fit tells while it runs.
    package enum Event: Sendable {
        case stage(String)
        case step(epoch: Int, step: Int, steps: Int, loss: Double)
        case epoch(Int, loss: Double, heldOut: Double)
    }

    private let inputs: Inputs
    private let options: FitOptions
    private let report: (Event) -> Void

    package init(_ inputs: Inputs, options: FitOptions, report: @escaping (Event) -> Void) {
        self.inputs = inputs
        self.options = options
        self.report = report
    }

    /// Fits, and returns the model with the best epoch's lexicon.
    /// - Parameter checkpoint: written after every epoch; with `resumes`, the fit goes on from it.
    package func run(name: String, checkpoint: String?, resumes: Bool) throws(FitError) -> ModelContents {
        report(.stage("reading texts"))
        let corpus = try readCorpus()
        let pieceBytes = try pieceModel(corpus.texts)
        let pieces: PieceModel
        do throws(TokenizationError) { pieces = try PieceModel(serialized: pieceBytes) } catch {
            throw .vocabulary(error)
        }
        report(.stage("cutting \(corpus.count) texts into pieces"))
        let (ids, starts) = encode(corpus.texts, pieces)
        report(.stage("reading the teacher's vectors"))
        let basis = try basis(corpus.arrays[0])
        let targets = try TeacherTargets(corpus.arrays, basis: basis, dimensions: options.dimensions)
        var fit = try LexiconFit(
            pieces: ids, starts: starts, targets: targets, vocabularyCount: pieces.vocabularyCount,
            start: try startRows(basis, count: pieces.vocabularyCount), options: options)
        let origin = provenance(corpus, pieceBytes)
        let identity = Array(origin.map { "\($0.key)=\($0.value)\n" }.joined().utf8).withUnsafeBytes {
            SHA256.digest(of: $0)
        }
        let best = try runEpochs(&fit, identity: identity, checkpoint: checkpoint, resumes: resumes)
        let lexemes = QuantizedRows(quantizing: best.rows, dimensions: options.dimensions)
        var contents = ModelContents(
            name: name, lexemes: lexemes, pieceModel: pieceBytes,
            provenance: origin + [("held-out-cosine", "\(Float(best.cosine))")],
            selfTest: ("The quick brown fox jumps over the lazy dog.", []))
        do throws(TokenizationError) {
            contents.selfTest.vector = try contents.vector(of: contents.selfTest.text)
        } catch { throw .vocabulary(error) }
        return contents
    }

    private func runEpochs(
        _ fit: inout LexiconFit, identity: [UInt8], checkpoint: String?, resumes: Bool
    ) throws(FitError) -> (rows: [Float], cosine: Double) {
        var best = (rows: fit.rows, cosine: -1.0)
        if resumes, let checkpoint, access(checkpoint, F_OK) == 0 {
            let saved = try Checkpoint(checkpoint, identity: identity, floats: fit.rows.count)
            fit.state = (saved.rows, saved.means, saved.variances, saved.epochs)
            best = (saved.best, saved.bestCosine)
            report(.stage("going on after epoch \(saved.epochs)"))
        }
        while fit.finishedEpochs < options.epochs {
            let epoch = fit.finishedEpochs + 1
            let steps = fit.stepsPerEpoch
            let loss = fit.runEpoch { report(.step(epoch: epoch, step: $0, steps: steps, loss: $1)) }
            // What will be shipped is judged: the rows after quantisation.
            let quantized = QuantizedRows(quantizing: fit.rows, dimensions: options.dimensions)
            var rounded = quantized.elements.map(Float.init)
            for index in rounded.indices { rounded[index] *= quantized.scales[index / options.dimensions] }
            let cosine = fit.heldOutCosine(rounded)
            if cosine > best.cosine { best = (fit.rows, cosine) }
            report(.epoch(epoch, loss: loss, heldOut: cosine))
            guard let checkpoint else { continue }
            let state = fit.state
            try Checkpoint(
                rows: state.rows, means: state.means, variances: state.variances, best: best.rows,
                bestCosine: best.cosine, epochs: state.epochs
            ).write(to: checkpoint, identity: identity)
        }
        return best
    }
}

extension Fit {
    private struct Corpus {
        var texts: [[UInt8]] = []
        var arrays: [NumpyArray] = []
        var count: Int { texts.count }
    }

    private func readCorpus() throws(FitError) -> Corpus {
        var corpus = Corpus()
        for pair in inputs.pairs {
            let lines = try filing { () throws(FileError) in try TextLines(contentsOf: pair.texts) }
            let array = try filing { () throws(FileError) in try NumpyArray(pair.vectors) }
            guard lines.count == array.rowCount else {
                throw .countsDiffer(
                    texts: pair.texts, textCount: lines.count, vectors: pair.vectors, vectorCount: array.rowCount)
            }
            for index in 0..<lines.count { corpus.texts.append(Array(lines[index])) }
            corpus.arrays.append(array)
        }
        return corpus
    }

    private func pieceModel(_ texts: [[UInt8]]) throws(FitError) -> [UInt8] {
        if let path = inputs.pieceModel {
            let file = try filing { () throws(FileError) in try MappedFile(path) }
            return Array(file.bytes)
        }
        report(.stage("training a vocabulary of \(options.vocabularyCount) pieces"))
        do throws(TokenizationError) {
            return try PieceTrainer.train(texts: texts, vocabularyCount: options.vocabularyCount)
        } catch { throw .vocabulary(error) }
    }

    private func encode(_ texts: [[UInt8]], _ model: PieceModel) -> (ids: [UInt32], starts: [UInt64]) {
        var tokenizer = Tokenizer(model: model)
        var buffer = PieceBuffer()
        var ids: [UInt32] = []
        var starts: [UInt64] = [0]
        for text in texts {
            _ = text.withUnsafeBufferPointer { tokenizer.encode($0, maximumPieces: 512, into: &buffer) }
            ids += buffer.ids
            starts.append(UInt64(ids.count))
        }
        return (ids, starts)
    }

    /// The projection from the teacher's dimensions to the model's, or nil when the vectors have those already.
    private func basis(_ first: NumpyArray) throws(FitError) -> Matrix? {
        if let path = inputs.basis {
            let array = try filing { () throws(FileError) in try NumpyArray(path) }
            guard array.columnCount == options.dimensions else {
                throw .wrongWidth(path: path, columns: array.columnCount, expected: options.dimensions)
            }
            let values = (0..<array.rowCount).flatMap { array.row($0) }
            return Matrix(rowCount: array.rowCount, columnCount: array.columnCount, values: values)
        }
        guard first.columnCount != options.dimensions else { return nil }
        return try TeacherTargets.axes(first, dimensions: options.dimensions)
    }

    private func startRows(_ basis: Matrix?, count: Int) throws(FitError) -> [Float]? {
        guard let path = inputs.start else { return nil }
        let array = try filing { () throws(FileError) in try NumpyArray(path) }
        guard array.rowCount == count else {
            throw .countsDiffer(
                texts: "the vocabulary", textCount: count, vectors: path, vectorCount: array.rowCount)
        }
        let targets = try TeacherTargets([array], basis: basis, dimensions: options.dimensions)
        return targets.elements.enumerated().map { Float($1) * targets.scales[$0 / options.dimensions] }
    }

    private func provenance(_ corpus: Corpus, _ pieceModel: [UInt8]) -> [(key: String, value: String)] {
        let texts = SHA256()
        for text in corpus.texts { (text + [10]).withUnsafeBytes { texts.update($0) } }
        let teacher = SHA256()
        for array in corpus.arrays { teacher.update(array.fileBytes) }
        return [
            ("texts", "\(corpus.count)"), ("texts-sha256", hexadecimal(texts.finalize())),
            ("teacher-sha256", hexadecimal(teacher.finalize())),
            ("pieces-sha256", hexadecimal(pieceModel.withUnsafeBytes { SHA256.digest(of: $0) })),
        ] + options.listing
    }
}
