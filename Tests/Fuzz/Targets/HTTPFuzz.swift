import Daemon
import Glibc
import Models
import NIOCore
import NIOEmbedded
import SAEEngine

/// Bytes of a stranger to the HTTP port.
///
/// The first byte of an input chooses the cut, as for frames. Whatever the bytes are, every cut gets answers of the same
/// statuses, and nothing is held for a connection that is gone. The daemon is one that starts: it reads the bodies of requests and
/// refuses the requests.
package func fuzzHTTP(_ bytes: UnsafeRawBufferPointer) {
    guard bytes.count > 1 else { return }
    let input = Array(bytes.dropFirst())
    let whole = statuses(of: input, step: input.count)
    if bytes[0] > 0 { precondition(whole == statuses(of: input, step: Int(bytes[0])), "another cut gets other answers") }
    precondition(service.bufferedBytes == 0, "something is held for a connection that is gone")
}

private let service: Service = {
    do {
        let path = scratchPath("http-model")
        write(smallModel, to: path)
        defer { unlink(path) }
        var configuration = Configuration()
        configuration.maximumHTTPBodyBytes = 4_096
        let metrics = Metrics()
        let log = Log(LogWriter(dropped: metrics.logEventsDropped) { _ in }, levelNamed: "error")
        return try Service(configuration, engine: Engine(model: Model(path)), log: log, metrics: metrics)
    } catch { preconditionFailure("no daemon: \(error)") }
}()

/// The statuses of what is answered to an input that comes `step` bytes at a time.
private func statuses(of input: [UInt8], step: Int) -> [Substring] {
    let channel = EmbeddedChannel()
    var answer = ""
    do {
        try service.serveHTTP(on: channel)
        try channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).wait()
        for begin in stride(from: 0, to: input.count, by: step) where channel.isActive {
            // What it throws are errors of this channel's: writes after it closed.
            _ = try? channel.writeInbound(ByteBuffer(bytes: input[begin..<min(begin + step, input.count)]))
            channel.embeddedEventLoop.run()
        }
        while let part = try channel.readOutbound(as: IOData.self) {
            if case .byteBuffer(let buffer) = part { answer += String(decoding: buffer.readableBytesView, as: UTF8.self) }
        }
    } catch { preconditionFailure("the channel: \(error)") }
    _ = try? channel.finish(acceptAlreadyClosed: true)
    let mark = "HTTP/1.1 "
    precondition(answer.isEmpty || answer.hasPrefix(mark), "no HTTP comes back")
    return answer.split(separator: "\r\n").filter { $0.hasPrefix(mark) }.map { $0.dropFirst(mark.utf8.count).prefix(3) }
}
