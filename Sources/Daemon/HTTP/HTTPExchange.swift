import NIOCore
import Synchronization
import Transport
import Wire

/// One HTTP request that workers compute: what they know of it.
final class HTTPExchange: RequestOwner {
    let service: Service
    let id: UInt64
    let requestID: String?
    let transport = TransportName.http
    /// JSON has no frames: the bound of an answer is `limits.max_connection_output_bytes`.
    let peerMaximumFrameBytes = UInt32.max
    private let shape: APIAnswer
    private let connection: NIOLoopBound<HTTPConnection>
    private let unowned = Atomic<Int>(0)

    init(_ connection: HTTPConnection, on loop: any EventLoop, _ service: Service, requestID: String?, shape: APIAnswer) {
        self.connection = NIOLoopBound(connection, eventLoop: loop)
        self.service = service
        self.requestID = requestID
        self.shape = shape
        id = connection.id
    }

    /// Accounted for, but not among what the connection holds: what an answer takes beyond its reservation, and what the
    /// connection has left to a worker that is still at the request.
    func leave(_ bytes: Int) { unowned.wrappingAdd(bytes, ordering: .acquiringAndReleasing) }
    /// Whoever takes these bytes releases them.
    func takeUnownedBytes() -> Int { unowned.exchange(0, ordering: .acquiringAndReleasing) }

    func encoded(_ answer: Answer, of request: Request) throws(Failure) -> [SendBuffer] {
        let json = try shape.json(answer, model: service.methods.modelName) { bytes throws(Failure) in
            let limit = service.configuration.maximumConnectionOutputBytes
            guard bytes <= limit else {
                throw Failure(
                    .invalidArgument, "the answer is over the limit", limit: "limits.max_connection_output_bytes",
                    value: UInt64(limit))
            }
            try service.admission.extend(by: bytes)
            leave(bytes)
        }
        return [SendBuffer(json)]
    }

    func complete(_ request: Request, _ outcome: RequestOutcome) {
        connection.eventLoop.execute { [self] in connection.value.finish(self, request, outcome) }
    }
}
