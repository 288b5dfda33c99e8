import FoundationEssentials
import Messages
import SAEEngine
import SwiftProtobuf
import Synchronization
import Transport
import Wire

/// Tokenize: ids, and on request the pieces and their spans in the original text.
final class TokenizeCall: Request, @unchecked Sendable {
    private let wantText: Bool
    private let wantSpans: Bool
    private let limits: TextLimits
    private let peerMaximumFrameBytes: Int
    private let results: Mutex<[Sae_V1_TextPieces]>
    private let notes = Mutex(RowNotes())
    private let growth = Mutex(Growth())

    /// How large the answer has become, and what was reserved beyond `answerBytes`.
    private struct Growth {
        var bytes = 256
        var reserved = 0
        /// Why there will be no answer.
        var failure: Failure?
    }

    /// Bytes of an answer where a piece is at least a byte of text, and an id, a span and its text take up to 20 bytes
    /// beside it. Normalisation makes eleven characters of some that take three bytes, so that an answer can grow
    /// beyond: then more is reserved as it grows.
    static func answerBytes(_ request: Sae_V1_TokenizeRequest) -> Int {
        let bytes = request.lengths.reduce(0) { $0 + Int($1) }
        return bytes * (request.wantText || request.wantSpans ? 20 : 4) + 64 * request.lengths.count + 256
    }

    init(
        _ arrived: Arrival, on connection: any RequestOwner, by generation: Generation, texts: TextBatch,
        request: Sae_V1_TokenizeRequest, limits: TextLimits
    ) {
        wantText = request.wantText
        wantSpans = request.wantSpans
        self.limits = limits
        peerMaximumFrameBytes = Int(connection.peerMaximumFrameBytes)
        results = Mutex([Sae_V1_TextPieces](repeating: .init(), count: request.lengths.count))
        super.init(
            arrived, on: connection, by: generation, texts: texts, lengths: request.lengths,
            answerBytes: Self.answerBytes(request))
    }

    deinit { connection.service.admission.account(-growth.withLock { $0.reserved }) }

    override func compute(_ range: Range<Int>, at desk: Desk) {
        for index in range {
            guard !isInVain, growth.withLock({ $0.failure == nil }) else { return }
            guard Int(lengths[index]) <= limits.maximumTextBytes else {
                note(index, .tooManyBytes)
                continue
            }
            let (ids, begins, ends) = desk.tokenize(self, index)
            guard !ids.isEmpty else {
                note(index, .noPieces)
                continue
            }
            guard ids.count <= limits.maximumPieces else {
                note(index, .tooManyPieces)
                continue
            }
            var pieces = Sae_V1_TextPieces()
            pieces.ids = ids
            if wantText { pieces.pieces = ids.map { Data(desk.piece($0)) } }
            if wantSpans { (pieces.begins, pieces.ends) = (begins, ends) }
            if grow(by: size(of: pieces)) { results.withLock { $0[index] = pieces } }
        }
    }

    /// Most bytes that the pieces of one text take in the answer.
    private func size(of pieces: Sae_V1_TextPieces) -> Int {
        let spellings = pieces.pieces.reduce(0) { $0 + $1.count + 6 }
        return 5 * (pieces.ids.count + pieces.begins.count + pieces.ends.count) + spellings + 32
    }

    /// Makes room for more of the answer; false when there is none.
    private func grow(by bytes: Int) -> Bool {
        let admission = connection.service.admission
        return growth.withLock { growth in
            growth.bytes += bytes
            guard growth.bytes <= peerMaximumFrameBytes else {
                growth.failure = Failure(
                    .invalidArgument, "the answer is over what the client accepts", limit: "client.max_frame_bytes",
                    value: UInt64(peerMaximumFrameBytes))
                return false
            }
            let missing = growth.bytes - answerBytes - growth.reserved
            guard missing > 0 else { return true }
            do throws(Failure) {
                try admission.extend(by: max(missing, 65_536))
                growth.reserved += max(missing, 65_536)
                return true
            } catch {
                growth.failure = error
                return false
            }
        }
    }

    private func note(_ index: Int, _ status: RowStatus) {
        guard let failure = Failure(row: status, limits) else { return }
        notes.withLock { $0.errors.append((index, failure)) }
    }

    override func answer() throws(Failure) -> Answer {
        if let failure = growth.withLock({ $0.failure }) { throw failure }
        let notes = notes.withLock { $0 }
        countTexts(lengths.count, notes)
        var response = Sae_V1_TokenizeResponse()
        response.texts = results.withLock { $0 }
        response.generation = generation.engine.generation
        response.errors = notes.errors.sorted { $0.index < $1.index }.map { index, failure in
            .with {
                $0.index = UInt32(index)
                $0.code = failure.code.rawValue
                $0.message = failure.message
                $0.limit = failure.limit
            }
        }
        return Answer(message: wireBytes(response), attachment: nil)
    }
}
