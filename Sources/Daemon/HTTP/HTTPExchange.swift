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
    private let extended = Atomic<Int>(0)

    init(_ connection: HTTPConnection, on loop: any EventLoop, _ service: Service, requestID: String?, shape: APIAnswer) {
        self.connection = NIOLoopBound(connection, eventLoop: loop)
        self.service = service
        self.requestID = requestID
        self.shape = shape
        id = connection.id
    }

    /// Bytes accounted for beyond the request's own, since its answer is there. Whoever takes them releases them.
    func takeExtendedBytes() -> Int { extended.exchange(0, ordering: .acquiringAndReleasing) }

    func encoded(_ answer: Answer, of request: Request) throws(Failure) -> [SendBuffer] {
        let json = try shape.json(answer, model: service.methods.modelName) { bytes throws(Failure) in
            let limit = service.configuration.maximumConnectionOutputBytes
            guard bytes <= limit else {
                throw Failure(
                    .invalidArgument, "the answer is over the limit", limit: "limits.max_connection_output_bytes",
                    value: UInt64(limit))
            }
            try service.admission.extend(by: bytes)
            extended.store(bytes, ordering: .releasing)
        }
        return [SendBuffer(json)]
    }

    func complete(_ request: Request, _ outcome: RequestOutcome) {
        connection.eventLoop.execute { [self] in connection.value.finish(self, request, outcome) }
    }
}
