import SAEEngine
import Synchronization
import Transport
import Wire

/// Trace: how one text becomes its vector, as the JSON of `sae trace --json`.
final class TraceCall: Request, @unchecked Sendable {
    private let limits: TextLimits
    private let outcome = Mutex<Result<[UInt8], Failure>?>(nil)
    /// What the answer took beyond what was reserved.
    private let extended = Mutex(0)

    /// A trace costs about as much as so many texts of its length (service section 3), or more, if it is long.
    private static let weight = 64

    init(
        _ arrived: Arrival, on connection: any RequestOwner, by generation: Generation, texts: TextBatch,
        limits: TextLimits
    ) {
        self.limits = limits
        // Pieces, items, couplings and the vector: about 1 KB a piece, and more is reserved if it becomes more.
        super.init(
            arrived, on: connection, by: generation, texts: texts, lengths: [UInt32(texts.bytes.count)],
            answerBytes: 65_536 + 1_024 * Request.estimatedPieces(UInt32(texts.bytes.count)))
    }

    deinit { connection.service.admission.account(-extended.withLock { $0 }) }

    override var queuedTexts: Int { Self.weight }
    override var queuedPieces: Int { Self.weight * max(estimatedPieceCount, 1) }

    override func compute(_ range: Range<Int>, at desk: Desk) {
        let result: Result<[UInt8], Failure>
        do throws(TraceError) {
            let trace = try generation.engine.trace(texts.bytes, limits: limits)
            observe(trace.generation)
            result = .success(Array(trace.json.utf8))
        } catch {
            let failure = Failure(row: error.status, limits) ?? Failure(.internal, error.summary)
            result = .failure(failure)
        }
        outcome.withLock { $0 = result }
    }

    override func answer() throws(Failure) -> Answer {
        guard let result = outcome.withLock({ $0 }) else { throw Failure(.deadlineExceeded, "the deadline has passed") }
        let json = try result.get()
        guard json.count + 64 <= Int(connection.peerMaximumFrameBytes) else {
            throw Failure(
                .invalidArgument, "the answer is over what the client accepts", limit: "client.max_frame_bytes",
                value: UInt64(connection.peerMaximumFrameBytes))
        }
        let over = json.count + 64 - answerBytes
        if over > 0 {
            try connection.service.admission.extend(by: over)
            extended.withLock { $0 = over }
        }
        countTexts(1, RowNotes())
        var writer = FieldWriter()
        writer.number(1, UInt64(Trace.schema))
        writer.fixed64(2, try generationOfRows(wanted: 0))
        let output = SendBuffer(headroom: Answer.headroom, count: json.count)
        output.body.copyBytes(from: json)
        return Answer(message: writer.bytes, attachment: output)
    }
}
