/// The credit of one streaming call, both ways (service specification, section 2, "Flow control"). Only payloads of MESSAGE
/// frames count.
struct StreamWindows: Sendable {
    /// What this side promised to give back at the latest when half of it is owed.
    private let initialWindow: Int
    /// What the peer may still send.
    private var receiveWindow: Int
    /// What was consumed and has not been given back.
    private var owed = 0
    /// What this side may still send.
    private(set) var sendWindow: Int
    /// The peer's half has ended.
    var peerIsDone = false

    init(own: UInt32, peer: UInt32) {
        initialWindow = Int(own)
        receiveWindow = Int(own)
        sendWindow = Int(peer)
    }

    /// A MESSAGE of `bytes` has come.
    mutating func receive(_ bytes: Int) throws(Violation) {
        guard !peerIsDone else { throw .badFrame }
        guard bytes <= receiveWindow else { throw .flowControl }
        receiveWindow -= bytes
    }

    /// A MESSAGE of `bytes`, at most the window, is sent.
    mutating func send(_ bytes: Int) {
        precondition(bytes <= sendWindow, "a message larger than its window")
        sendWindow -= bytes
    }

    /// The peer has granted more.
    mutating func grant(_ bytes: Int) throws(Violation) {
        guard sendWindow + bytes <= Int(Int32.max) else { throw .flowControl }
        sendWindow += bytes
    }

    /// What to grant the peer after `bytes` were consumed: nothing while less than half a window is owed, unless there is
    /// nothing else left to read.
    mutating func consume(_ bytes: Int, isLast: Bool) -> Int {
        owed += bytes
        guard owed > 0, !peerIsDone, isLast || owed >= initialWindow / 2 else { return 0 }
        defer { owed = 0 }
        receiveWindow += owed
        return owed
    }
}
