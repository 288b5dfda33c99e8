import Messages
import SAEEngine
import Synchronization
import Transport
import Vectors
import Wire

/// Similarity: the vectors of all texts, then the matrix of their cosines.
final class SimilarityCall: Request, @unchecked Sendable {
    private let left: Int
    private let dimensions: Int
    private let wantedGeneration: UInt64
    private let limits: TextLimits
    /// Made when the request is admitted, before any worker sees it.
    private var vectors = SendBuffer(headroom: 0, count: 0)
    private let firstBad = Mutex<(index: Int, failure: Failure)?>(nil)

    /// Rows and columns of the matrix: the first `left` texts against the others, or all against all.
    static func shape(count: Int, left: Int) -> (rows: Int, columns: Int) {
        left == 0 ? (count, count) : (left, count - left)
    }

    init(
        _ arrived: Arrival, on connection: any RequestOwner, by generation: Generation, texts: TextBatch,
        request: Sae_V1_SimilarityRequest, dimensions: Int, limits: TextLimits
    ) {
        left = Int(request.left)
        self.dimensions = dimensions
        self.limits = limits
        wantedGeneration = request.ifGeneration
        let count = request.lengths.count
        let (rows, columns) = Self.shape(count: count, left: left)
        super.init(
            arrived, on: connection, by: generation, texts: texts, lengths: request.lengths,
            answerBytes: rows * columns * 4 + count * dimensions * 4 + 256)
    }

    override func prepare() { vectors = SendBuffer(headroom: 0, count: lengths.count * dimensions * 4) }

    override func compute(_ range: Range<Int>, at desk: Desk) {
        desk.embed(self, range, limits: limits) { texts, rows, outcomes, width in
            var bytes: [UInt8] = []
            VectorEncoding.float32.append(rows, dimensions: width, leading: dimensions, to: &bytes)
            let target = UnsafeMutableRawBufferPointer(rebasing: vectors.body[(texts.lowerBound * dimensions * 4)...])
            target.copyBytes(from: bytes)
            for (offset, outcome) in outcomes.enumerated() {
                guard let failure = Failure(row: outcome.status, limits) else { continue }
                let index = texts.lowerBound + offset
                firstBad.withLock { bad in
                    if bad.map({ index < $0.index }) ?? true { bad = (index, failure) }
                }
            }
        }
    }

    override func startOver() {
        super.startOver()
        firstBad.withLock { $0 = nil }
    }

    override func answer() throws(Failure) -> Answer {
        if let (index, failure) = firstBad.withLock({ $0 }) {
            throw Failure(
                failure.code, "text \(index): \(failure.message)", limit: failure.limit,
                value: failure.limitValue)
        }
        countTexts(lengths.count, RowNotes())
        let (rows, columns) = Self.shape(count: lengths.count, left: left)
        let output = SendBuffer(headroom: Answer.headroom, count: rows * columns * 4)
        let units = vectors.body.bindMemory(to: Float.self)
        let cells = output.body.bindMemory(to: Float.self)
        func unit(_ text: Int) -> UnsafeBufferPointer<Float> {
            UnsafeBufferPointer(rebasing: UnsafeBufferPointer(units)[text * dimensions..<(text + 1) * dimensions])
        }
        for row in 0..<rows {
            for column in 0..<columns { cells[row * columns + column] = dot(unit(row), unit(left + column)) }
        }
        var writer = FieldWriter()
        writer.number(1, UInt64(rows))
        writer.number(2, UInt64(columns))
        writer.fixed64(3, try generationOfRows(wanted: wantedGeneration))
        return Answer(message: writer.bytes, attachment: output)
    }
}
