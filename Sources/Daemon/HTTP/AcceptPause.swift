import NIOCore

/// Lets a listening channel rest for 100 ms when it cannot accept, as without descriptors. The event loop would otherwise try again
/// without a pause; so it does with NIO's `AcceptBackoffHandler` when the first accept of a turn is what fails.
final class AcceptPause: ChannelInboundHandler {
    typealias InboundIn = any Channel

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard error is IOError else { return context.fireErrorCaught(error) }
        let channel = context.channel
        try? channel.syncOptions?.setOption(.autoRead, value: false)
        // Fails for a channel that is closed by then, which accepts nothing.
        channel.eventLoop.scheduleTask(in: .milliseconds(100)) { channel.setOption(.autoRead, value: true).whenComplete { _ in } }
    }
}
