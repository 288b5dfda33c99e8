import Corpora
import Dispatch
import SAEEngine
import Synchronization
import Transport
import Vectors
import Wire

/// A chunk of a corpus job at the workers, who make the files' bytes of it.
final class JobCall: Request, @unchecked Sendable {
    let chunk: CorpusChunk
    private let plan: CorpusPlan
    private let wanted: UInt64
    private let parts = Mutex<[(first: Int, rows: CorpusRows)]>([])
    private let outcome = Mutex<RequestOutcome?>(nil)
    private let isOver = DispatchSemaphore(value: 0)

    init(_ chunk: CorpusChunk, texts: TextBatch, _ plan: CorpusPlan, by generation: Generation, wanted: UInt64, on owner: JobWorkbench) {
        self.chunk = chunk
        self.plan = plan
        self.wanted = wanted
        let frame = Frame(header: FrameHeader(.request), message: [], attachment: [])
        let call = Call(stream: 0, method: .startJob, timeoutMicroseconds: 0, frame: frame, usesCRC: false)
        super.init(
            Arrival(call: call, time: monotonicNanoseconds(), deadline: .max), on: owner, by: generation, texts: texts,
            lengths: chunk.lengths, answerBytes: 0)
    }

    override func compute(_ range: Range<Int>, at desk: Desk) {
        var limits = TextLimits()
        limits.maximumTextBytes = plan.maximumTextBytes
        limits.maximumPieces = plan.maximumPieces
        limits.truncates = plan.truncates
        desk.embed(self, range, limits: limits) { texts, vectors, outcomes, width in
            var bytes: [UInt8] = []
            plan.encoding.append(vectors, dimensions: width, leading: plan.dimensions, to: &bytes)
            var failures: [Int: CorpusRowFailure] = [:]
            for (row, outcome) in outcomes.enumerated() {
                if let failure = chunk.failures[texts.lowerBound + row] {
                    failures[row] = failure
                } else if let failure = Failure(row: outcome.status, limits) {
                    failures[row] = CorpusRowFailure(code: failure.code.name, message: failure.message)
                }
            }
            let rows = plan.rows(
                bytes, firstRow: chunk.firstRow + texts.lowerBound, count: texts.count, failures: failures,
                ids: chunk.ids.isEmpty ? [] : chunk.ids[texts])
            parts.withLock { $0.append((texts.lowerBound, rows)) }
        }
    }

    override func startOver() {
        super.startOver()
        parts.withLock { $0 = [] }
    }

    override func answer() throws(Failure) -> Answer {
        _ = try generationOfRows(wanted: wanted)
        return Answer(message: [], attachment: nil)
    }

    /// Called once nobody computes any more.
    func end(_ outcome: RequestOutcome) {
        self.outcome.withLock { $0 = $0 ?? outcome }
        isOver.signal()
    }

    /// Waits for the rows; nil when the call was stopped.
    func rows() throws(Failure) -> CorpusRows? {
        isOver.wait()
        isOver.signal()
        switch outcome.withLock({ $0 }) {
        case .failed(let failure): throw failure
        case .answered:
            return parts.withLock { parts in
                var all = CorpusRows()
                for part in parts.sorted(by: { $0.first < $1.first }) { all.append(part.rows) }
                return all
            }
        case .letGo, nil: return nil
        }
    }
}

/// Owner of a job's calls.
final class JobWorkbench: RequestOwner {
    unowned let service: Service
    let queue = RequestQueue(isBackground: true)
    var id: UInt64 { 0 }
    var transport: TransportName { .unix }
    var peerMaximumFrameBytes: UInt32 { .max }
    var requestID: String? { nil }

    init(_ service: Service) { self.service = service }

    func encoded(_ answer: Answer, of request: Request) -> [SendBuffer] { [] }

    func complete(_ request: Request, _ outcome: RequestOutcome) { (request as? JobCall)?.end(outcome) }

    func begin(_ call: JobCall) { service.scheduler.add(call, toBackground: queue) }

    /// Takes the call back, or has its workers leave it.
    func stop(_ call: JobCall) {
        if service.scheduler.remove(call, from: queue) { call.end(.letGo) }
    }
}
