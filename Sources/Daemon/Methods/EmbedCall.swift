import SAEEngine
import Synchronization
import Transport
import Vectors
import Wire

/// The rows of a call that are not plain vectors, gathered from its slices.
struct RowNotes: Sendable {
    var errors: [(index: Int, failure: Failure)] = []
    var truncated: [Int] = []
}

/// Embed: every slice writes its rows, encoded, straight into the answer's buffer.
final class EmbedCall: Request, @unchecked Sendable {
    private let options: EmbedOptions
    private var encoding: VectorEncoding { options.encoding }
    private var dimensions: Int { options.dimensions }
    private var limits: TextLimits { options.limits }
    /// Made when the request is admitted, before any worker sees it.
    private var output: SendBuffer?
    private let notes = Mutex(RowNotes())
    private let pieces: Mutex<[UInt32]>

    /// Most bytes of an answer of `count` rows: a row error takes up to 96 bytes.
    static func answerBytes(_ count: Int, _ encoding: VectorEncoding, _ dimensions: Int) -> Int {
        encoding.byteCount(rows: count, dimensions: dimensions) + 96 * count + 256
    }

    init(
        _ arrived: Arrival, on connection: any RequestOwner, by generation: Generation, texts: TextBatch,
        lengths: [UInt32], options: EmbedOptions
    ) {
        self.options = options
        let count = lengths.count
        pieces = Mutex(options.wantPieces ? [UInt32](repeating: 0, count: count) : [])
        super.init(
            arrived, on: connection, by: generation, texts: texts, lengths: lengths,
            answerBytes: Self.answerBytes(count, options.encoding, options.dimensions))
    }

    override func prepare() {
        output = SendBuffer(
            headroom: Answer.headroom, count: encoding.byteCount(rows: lengths.count, dimensions: dimensions))
    }

    override func compute(_ range: Range<Int>, at desk: Desk) {
        desk.embed(self, range, limits: limits, temperature: options.temperature) { texts, vectors, outcomes, width in
            place(vectors, width: width, at: texts.lowerBound, count: texts.count)
            note(outcomes, from: texts.lowerBound)
        }
    }

    /// Copies or encodes `count` rows to where they stand in the attachment.
    private func place(_ vectors: UnsafeBufferPointer<Float>, width: Int, at first: Int, count: Int) {
        guard let target = output?.body.baseAddress else { return }
        if encoding == .float32 && width == dimensions {
            UnsafeMutableRawBufferPointer(start: target + first * width * 4, count: vectors.count * 4)
                .copyMemory(from: UnsafeRawBufferPointer(vectors))
            return
        }
        var bytes: [UInt8] = []
        encoding.append(vectors, dimensions: width, leading: dimensions, to: &bytes)
        let rowBytes = encoding == .int8 ? dimensions : encoding.byteCount(rows: 1, dimensions: dimensions)
        bytes.withUnsafeBytes { bytes in
            let rows = UnsafeRawBufferPointer(rebasing: bytes[..<(count * rowBytes)])
            UnsafeMutableRawBufferPointer(start: target + first * rowBytes, count: rows.count)
                .copyMemory(from: rows)
            guard encoding == .int8 else { return }
            // The scales stand after all rows of the whole answer.
            let scales = UnsafeRawBufferPointer(rebasing: bytes[(count * rowBytes)...])
            UnsafeMutableRawBufferPointer(
                start: target + lengths.count * rowBytes + first * 4, count: scales.count
            ).copyMemory(from: scales)
        }
    }

    private func note(_ outcomes: ArraySlice<RowOutcome>, from first: Int) {
        if options.wantPieces {
            pieces.withLock { pieces in
                for (offset, outcome) in outcomes.enumerated() { pieces[first + offset] = UInt32(outcome.pieceCount) }
            }
        }
        for (offset, outcome) in outcomes.enumerated() where outcome.status != .ok || outcome.isTruncated {
            notes.withLock { notes in
                if outcome.isTruncated { notes.truncated.append(first + offset) }
                if let failure = Failure(row: outcome.status, limits) { notes.errors.append((first + offset, failure)) }
            }
        }
    }

    override func startOver() {
        super.startOver()
        notes.withLock { $0 = RowNotes() }
    }

    override func answer() throws(Failure) -> Answer {
        let generation = try generationOfRows(wanted: options.generation)
        let notes = notes.withLock { $0 }
        countTexts(lengths.count, notes)
        var fields = EmbedResponseFields()
        fields.count = UInt32(lengths.count)
        fields.dimensions = UInt32(dimensions)
        fields.encoding = encoding.rawValue
        fields.generation = generation
        fields.errors = notes.errors.sorted { $0.index < $1.index }.map { index, failure in
            .init(index: UInt32(index), code: UInt32(failure.code.rawValue), message: failure.message, limit: failure.limit)
        }
        fields.pieces = pieces.withLock { $0 }
        fields.truncated = notes.truncated.sorted().map(UInt32.init)
        fields.queueMicroseconds = UInt32(clamping: queueMicroseconds)
        fields.computeMicroseconds = UInt32(clamping: computeMicroseconds)
        var message: [UInt8] = []
        fields.encode(to: &message)
        return Answer(message: message, attachment: output)
    }
}

extension Request {
    /// Counts the rows of an answer by outcome.
    func countTexts(_ count: Int, _ notes: RowNotes) {
        let metrics = connection.service.metrics
        metrics.texts[0].add(count - notes.errors.count - notes.truncated.count)
        metrics.texts[1].add(notes.errors.count)
        metrics.texts[2].add(notes.truncated.count)
    }
}

extension Failure {
    /// The row error that `status` means, or nil for a good row.
    init?(row status: RowStatus, _ limits: TextLimits) {
        guard let reason = status.reason(limits) else { return nil }
        switch status {
        case .ok, .noPieces: self.init(.invalidArgument, reason)
        case .tooManyBytes:
            self.init(.invalidArgument, reason, limit: "limits.max_text_bytes", value: UInt64(limits.maximumTextBytes))
        case .tooManyPieces:
            self.init(.invalidArgument, reason, limit: "limits.max_pieces_per_text", value: UInt64(limits.maximumPieces))
        case .noDirection: self.init(.internal, reason)
        }
    }
}
