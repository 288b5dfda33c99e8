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

    /// Bytes that an answer of `count` rows may take (service section 4).
    static func answerBytes(_ count: Int, _ encoding: VectorEncoding, _ dimensions: Int) -> Int {
        encoding.byteCount(rows: count, dimensions: dimensions) + 64 * count + 256
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
        let (notes, pieces) = (notes.withLock { $0 }, pieces.withLock { $0 })
        countTexts(lengths.count, notes)
        var writer = FieldWriter()
        writer.number(1, UInt64(lengths.count))
        writer.number(2, UInt64(dimensions))
        writer.number(3, UInt64(encoding.rawValue))
        writer.fixed64(4, generation)
        for (index, failure) in notes.errors.sorted(by: { $0.index < $1.index }) {
            writer.bytes(5, failure.rowError(index))
        }
        writer.packed(6, pieces)
        writer.packed(7, notes.truncated.sorted().map(UInt32.init))
        writer.number(8, UInt64(queueMicroseconds))
        writer.number(9, UInt64(computeMicroseconds))
        return Answer(message: writer.bytes, attachment: output)
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

    /// Bytes of a `RowError` for row `index`.
    func rowError(_ index: Int) -> [UInt8] {
        var writer = FieldWriter()
        writer.number(1, UInt64(index))
        writer.number(2, UInt64(code.rawValue))
        writer.bytes(3, Array(message.utf8))
        if !limit.isEmpty { writer.bytes(4, Array(limit.utf8)) }
        return writer.bytes
    }
}
