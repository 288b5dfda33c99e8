import Messages
import Wire

/// Bytes of a peer to frames and to the rules of a connection.
///
/// The first byte of an input chooses the cut: 0 gives all bytes at once, n gives n at a time. Whatever they are,
/// the same frames come out for every cut, and no more is held than has arrived.
package func fuzzFrames(_ bytes: UnsafeRawBufferPointer) {
    let size = bytes.count
    guard size > 1 else { return }
    let step = bytes[0] == 0 ? size - 1 : Int(bytes[0])
    let input = UnsafeRawBufferPointer(rebasing: bytes[1...])
    let whole = frames(in: input, step: input.count)
    precondition(whole == frames(in: input, step: step), "another cut gives other frames")
    for greets in [false, true] {
        drive(input, step: step, role: .server, greets: greets)
        drive(input, step: step, role: .client, greets: greets)
    }
}

/// What a decoder says of the input, given `step` bytes at a time.
private func frames(in input: UnsafeRawBufferPointer, step: Int) -> [String] {
    var decoder = FrameDecoder(maximumFrameBytes: 1 << 12)
    var events: [String] = []
    var offset = 0
    do throws(Violation) {
        while offset < input.count {
            let end = min(offset + step, input.count)
            var rest = UnsafeRawBufferPointer(rebasing: input[offset..<end])
            offset = end
            while let event = try decoder.next(&rest) { events.append("\(event)") }
            precondition(decoder.bufferedBytes <= input.count, "more is held than has arrived")
        }
    } catch { events.append("\(error.code)") }
    return events
}

/// The HELLO of a peer that keeps the rules, so that inputs reach what comes after.
private let greeting: [UInt8] = {
    var hello = Sae_V1_Hello()
    hello.versionMin = 1
    hello.versionMax = 1
    hello.maxFrameBytes = WireLimits.leastFrameBytes
    hello.initialWindow = WireLimits.leastFrameBytes
    var bytes: [UInt8] = []
    FrameEncoder.append(FrameHeader(.hello), message: wireBytes(hello), withCRC: false, to: &bytes)
    return bytes
}()

/// The rules of a connection must not trap, whatever arrives, and say nothing after they have closed.
private func drive(_ input: UnsafeRawBufferPointer, step: Int, role: ConnectionState.Role, greets: Bool) {
    var limits = WireLimits()
    limits.maximumStreams = 4
    var state = ConnectionState(role: role, limits: limits, hello: Sae_V1_Hello())
    if role == .client { _ = state.start() }
    if greets {
        _ = greeting.withUnsafeBytes { state.receive($0, now: 0) }
        precondition(state.isOpen, "a right HELLO opens")
        if role == .client { for _ in 0..<3 { _ = state.openStream() } }
    }
    var offset = 0
    var now: UInt64 = 0
    while offset < input.count {
        let end = min(offset + step, input.count)
        _ = state.receive(UnsafeRawBufferPointer(rebasing: input[offset..<end]), now: now)
        precondition(state.openStreamCount <= limits.maximumStreams, "more streams than allowed")
        offset = end
        now += 1_000_000
    }
}
