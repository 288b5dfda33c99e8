import SAEEngine
import Synchronization
import Transport
import Wire

/// A call, when it came, and when its time is over; monotonic nanoseconds.
struct Arrival: Sendable {
    var call: Call
    var time: UInt64
    var deadline: UInt64
    /// Most bytes that the transport makes of the answer, beside the answer itself.
    var renderedBytes = 0
}

/// Who waits for the answer of a request: a connection of frames, or an exchange of HTTP.
protocol RequestOwner: AnyObject, Sendable {
    var service: Service { get }
    /// The connection's number, as logs name it.
    var id: UInt64 { get }
    var transport: TransportName { get }
    /// Most bytes of an answer that the peer takes.
    var peerMaximumFrameBytes: UInt32 { get }
    /// What an HTTP client calls its request, for the log.
    var requestID: String? { get }

    /// The bytes to send for an answer. Called by the worker that finished last.
    func encoded(_ answer: Answer, of request: Request) throws(Failure) -> [SendBuffer]
    /// Called by a worker when it has computed the last slice, or left a stopped request.
    func complete(_ request: Request, _ outcome: RequestOutcome)
}

/// What a worker says of a request.
enum RequestOutcome: Sendable {
    case answered([SendBuffer])
    case failed(Failure)
    /// Nobody computes any more for a request that was stopped.
    case letGo
}

/// One admitted call from arrival to its terminal frame. Subclasses say what is computed for a slice of its
/// texts and how the answer looks.
///
/// Safe as `Sendable`: what is set at the start does not change; `nextText` and `slicesOut` belong to the
/// scheduler's lock; slices write disjoint rows; the rest is atomic or behind a lock.
class Request: @unchecked Sendable {
    let stream: UInt32
    let method: Method
    let usesCRC: Bool
    let connection: any RequestOwner
    /// When the request was complete, and when its time is over; monotonic nanoseconds.
    let arrival: UInt64
    let deadline: UInt64
    /// The texts, end to end.
    let texts: TextBatch
    /// Bytes of each text.
    let lengths: [UInt32]
    /// What was reserved for the answer.
    let answerBytes: Int

    /// The first text that no worker has taken (scheduler's lock).
    var nextText = 0
    /// Slices that workers have taken and not given back (scheduler's lock).
    var slicesOut = 0
    /// Payload and reservation counted against `limits.max_buffer_bytes` while the request is open.
    let heldBytes: Int

    private let unfinished: Atomic<Int>
    private let stopped = Atomic<Bool>(false)
    private let firstStart = Atomic<UInt64>(0)
    private let computed = Atomic<UInt64>(0)
    /// The generation that rows were computed with, 0 before the first; and whether there were two.
    private let observedGeneration = Atomic<UInt64>(0)
    private let hasTwoGenerations = Atomic<Bool>(false)

    init(
        _ arrived: Arrival, on connection: any RequestOwner, texts: TextBatch, lengths: [UInt32],
        answerBytes: Int
    ) {
        stream = arrived.call.stream
        method = arrived.call.method
        usesCRC = arrived.call.usesCRC
        self.connection = connection
        arrival = arrived.time
        deadline = arrived.deadline
        self.texts = texts
        self.lengths = lengths
        self.answerBytes = answerBytes + arrived.renderedBytes
        heldBytes = arrived.call.frame.payloadCount + self.answerBytes
        unfinished = Atomic(lengths.count)
    }

    /// Computes the texts of `range`, on a worker.
    func compute(_ range: Range<Int>, at desk: Desk) {}

    /// The answer, once every text is computed; a failure when the call as a whole cannot be answered.
    func answer() throws(Failure) -> Answer { throw Failure(.internal, "nothing to answer") }

    /// True once nobody waits for the answer: workers leave what is left.
    var isStopped: Bool { stopped.load(ordering: .relaxed) }
    func stop() { stopped.store(true, ordering: .relaxed) }
    /// True once computing more is in vain.
    var isInVain: Bool { isStopped || monotonicNanoseconds() >= deadline }

    /// Called by the worker that took its first slice.
    func began(_ now: UInt64) {
        _ = firstStart.compareExchange(expected: 0, desired: now, ordering: .relaxed)
    }

    /// Called after a slice; true for the slice that was the last to finish.
    func finished(_ count: Int, nanoseconds: UInt64) -> Bool {
        computed.wrappingAdd(nanoseconds, ordering: .relaxed)
        return unfinished.wrappingSubtract(count, ordering: .acquiringAndReleasing).newValue == 0
    }

    /// Notes which generation some rows belong to: it changes when a scorer fails and another takes over.
    func observe(_ generation: UInt64) {
        let before = observedGeneration.compareExchange(
            expected: 0, desired: generation, ordering: .acquiringAndReleasing)
        if !before.exchanged, before.original != generation { hasTwoGenerations.store(true, ordering: .releasing) }
    }

    /// True when a scorer failed between two slices: their rows do not go together.
    var isMixed: Bool { hasTwoGenerations.load(ordering: .acquiring) }

    /// Forgets what was computed, so that all texts can be computed again. By the worker that finished last.
    func startOver() {
        observedGeneration.store(0, ordering: .releasing)
        hasTwoGenerations.store(false, ordering: .releasing)
    }

    /// The one generation of all rows; another than the client wants is refused.
    func generationOfRows(wanted: UInt64) throws(Failure) -> UInt64 {
        let generation = observedGeneration.load(ordering: .acquiring)
        guard wanted == 0 || wanted == generation else {
            throw Failure(.failedPrecondition, "another generation serves")
        }
        return generation
    }

    /// Time from arrival to the first slice, and time computing, in microseconds.
    var queueMicroseconds: Int {
        let start = firstStart.load(ordering: .relaxed)
        return start > arrival ? Int((start - arrival) / 1_000) : 0
    }
    var computeMicroseconds: Int { Int(computed.load(ordering: .relaxed) / 1_000) }

    /// The estimate that admission and the scheduler reckon with, for a text of `bytes` bytes.
    static func estimatedPieces(_ bytes: UInt32) -> Int { (Int(bytes) + 3) / 4 + 1 }

    lazy var estimatedPieceCount: Int = lengths.reduce(0) { $0 + Self.estimatedPieces($1) }
}

/// What a computed answer consists of.
struct Answer: Sendable {
    /// Protobuf bytes of the message.
    var message: [UInt8]
    /// The attachment, with headroom for header and message before it; nil when there is none.
    var attachment: SendBuffer?

    /// Room for a header and the message of an answer without row errors.
    static let headroom = 256

    /// The whole frame, ready to send.
    func frame(stream: UInt32, withCRC: Bool) -> [SendBuffer] {
        var header = FrameHeader(.message, stream: stream)
        header.flags = [.last]
        guard let attachment else {
            var bytes: [UInt8] = []
            FrameEncoder.append(header, message: message, withCRC: withCRC, to: &bytes)
            return [SendBuffer(bytes)]
        }
        var head = FrameEncoder.head(
            header, message: message, attachment: UnsafeRawBufferPointer(attachment.body), withCRC: withCRC)
        head += message
        if attachment.prepend(head) { return [attachment] }
        return [SendBuffer(head), attachment]
    }
}
