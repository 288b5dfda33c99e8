import SAEEngine
import Transport
import Vectors
import Wire

/// One EmbedStream at the server: what its opening fixed, the chunks that wait, and those that are computed, in their order.
///
/// Touched on the connection's I/O queue only.
final class EmbedStream {
    /// A chunk that has come and is not computed yet.
    struct Waiting {
        let frame: Frame
        let arrival: UInt64
    }

    /// A chunk that workers have, or had, and whose answer is not sent.
    struct Running {
        let request: EmbedCall
        /// Bytes that the client gets back as credit.
        let payload: Int
        var answer: [SendBuffer]?
    }

    let id: UInt32
    let arrival: UInt64
    let deadline: UInt64
    let opening: Call
    /// What served when the stream was opened, and computes all of it.
    let serving: Serving
    /// The id of that, which all answers carry.
    let generation: UInt64
    let options: EmbedOptions
    var clientIsDone = false
    var waiting: [Waiting] = []
    /// The first of `waiting` as a request, once it was looked at.
    var prepared: EmbedCall?
    var running: [Running] = []
    /// Most bytes of the answers of `running`, for which the client's window is kept.
    var promised = 0
    /// Why the stream ends once the chunks that had come when this was set are answered; later ones are dropped.
    var endReason: Failure?

    init(_ arrived: Arrival, serving: Serving, options: EmbedOptions) {
        id = arrived.call.stream
        arrival = arrived.time
        deadline = arrived.deadline
        opening = arrived.call
        self.serving = serving
        generation = serving.engine.generation
        self.options = options
    }
}

/// How the texts of an Embed or an EmbedStream are to be answered: checked fields of an EmbedRequest.
struct EmbedOptions: Sendable {
    var encoding: VectorEncoding
    var dimensions: Int
    var temperature: Temperature
    var limits: TextLimits
    var wantPieces: Bool
    /// Only rows of this generation; 0 = any.
    var generation: UInt64
}
