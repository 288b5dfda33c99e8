import Encryption
import NIOCore

/// Stands between a socket of the HTTP port and the rest of its pipeline, which sees plaintext. Everything happens on the
/// port's event loop.
final class HTTPEncryption: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = IOData
    typealias OutboundOut = IOData

    private let session: EncryptedSession
    private let timeout: TimeAmount
    private let onFailure: (EncryptionError) -> Void
    private var isOver = false
    private var context: ChannelHandlerContext?

    /// `timeout` is for the handshake; `onFailure` hears, once, why the connection ends.
    init(
        _ encryption: EncryptionContext, timeout: Duration, onFailure: @escaping (EncryptionError) -> Void
    ) throws(EncryptionError) {
        session = try EncryptedSession(encryption, speaking: "http/1.1")
        self.timeout = .nanoseconds(Int64(timeout.nanoseconds))
        self.onFailure = onFailure
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelActive(context: ChannelHandlerContext) {
        context.eventLoop.assumeIsolated().scheduleTask(in: timeout) { [weak self] in
            guard let self, !session.isEstablished, !isOver else { return }
            fail(.broken(reason: "the handshake took too long"))
        }
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isOver else { return }
        var pieces: [ByteBuffer] = []
        do throws(EncryptionError) {
            try Self.unwrapInboundIn(data).withUnsafeReadableBytes { bytes throws(EncryptionError) in
                try session.receive(bytes) {
                    pieces.append(context.channel.allocator.buffer(bytes: $0))
                    return true
                }
            }
        } catch { return fail(error) }
        for piece in pieces { context.fireChannelRead(Self.wrapInboundOut(piece)) }
        sendOutput(context, promise: nil)
        context.flush()
        if session.isEnded { context.close(promise: nil) }
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard session.isEstablished, !isOver, case .byteBuffer(let buffer) = Self.unwrapOutboundIn(data) else {
            return promise?.fail(ChannelError.ioOnClosedChannel) ?? ()
        }
        do throws(EncryptionError) {
            try buffer.withUnsafeReadableBytes { bytes throws(EncryptionError) in try session.send(bytes) }
            sendOutput(context, promise: promise)
        } catch {
            promise?.fail(error)
            fail(error)
        }
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        if mode != .input {
            if !isOver { session.finish() }
            sendOutput(context, promise: nil)
            context.flush()
        }
        context.close(mode: mode, promise: promise)
    }

    private func sendOutput(_ context: ChannelHandlerContext, promise: EventLoopPromise<Void>?) {
        guard session.outputCount > 0 else { return promise?.succeed() ?? () }
        context.write(Self.wrapOutboundOut(.byteBuffer(ByteBuffer(bytes: session.takeOutput()))), promise: promise)
    }

    private func fail(_ error: EncryptionError) {
        guard !isOver else { return }
        isOver = true
        onFailure(error)
        context?.channel.close(promise: nil)
    }
}
