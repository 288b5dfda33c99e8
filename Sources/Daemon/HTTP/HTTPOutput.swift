import NIOCore
import NIOHTTP1
import Transport

/// An answer on its way out: given to the kernel as it takes it, piece by piece, so that its progress is seen and
/// little of it is held twice. On the port's event loop.
final class HTTPOutput {
    /// So much is given at once. Chosen: two of NIO's marks for "enough is waiting".
    private static let pieceBytes = 65_536

    private var body: [SendBuffer] = []
    private var offset = 0
    private var unsentWrites = 0
    private var isPumping = false
    private let onProgress: () -> Void
    private let onSent: () -> Void

    /// `onProgress` hears of each piece that the kernel took, `onSent` once that it took the last.
    init(onProgress: @escaping () -> Void, onSent: @escaping () -> Void) {
        self.onProgress = onProgress
        self.onSent = onSent
    }

    /// Begins an answer; the one before has been sent.
    func start(_ head: HTTPResponseHead, _ body: [SendBuffer], _ context: ChannelHandlerContext) {
        self.body = body
        offset = 0
        write(.head(head), context)
        pump(context)
    }

    /// Forgets what is left: the connection is gone.
    func drop() { body = [] }

    /// Gives the kernel as much as it takes. Called again when it takes more.
    func pump(_ context: ChannelHandlerContext) {
        guard !isPumping, !body.isEmpty || unsentWrites > 0 else { return }
        isPumping = true
        repeat {
            while context.channel.isWritable, let piece = next(context) { write(.body(.byteBuffer(piece)), context) }
            context.flush()
        } while !body.isEmpty && context.channel.isWritable
        isPumping = false
        endIfSent()
    }

    private func next(_ context: ChannelHandlerContext) -> ByteBuffer? {
        guard let buffer = body.first else { return nil }
        let bytes = UnsafeRawBufferPointer(buffer.body)
        let end = min(offset + Self.pieceBytes, bytes.count)
        var piece = context.channel.allocator.buffer(capacity: end - offset)
        piece.writeBytes(UnsafeRawBufferPointer(rebasing: bytes[offset..<end]))
        offset = end
        if end == bytes.count {
            body.removeFirst()
            offset = 0
        }
        return piece
    }

    private func write(_ part: HTTPServerResponsePart, _ context: ChannelHandlerContext) {
        let sent = context.eventLoop.makePromise(of: Void.self)
        unsentWrites += 1
        sent.futureResult.assumeIsolated().whenSuccess { [self] in
            unsentWrites -= 1
            onProgress()
            endIfSent()
        }
        context.write(HTTPConnection.wrapOutboundOut(part), promise: sent)
    }

    private func endIfSent() {
        if !isPumping && body.isEmpty && unsentWrites == 0 { onSent() }
    }
}
