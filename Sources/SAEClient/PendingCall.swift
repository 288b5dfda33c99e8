import Wire

/// One call on its way, through all its attempts. Touched on the pool's queue only, which is what makes it safe as
/// `Sendable`.
final class PendingCall: @unchecked Sendable {
    let method: Method
    let message: [UInt8]
    let attachment: [UInt8]
    let deadline: UInt64
    var result: CheckedContinuation<Result<Frame, ClientError>, Never>?
    var isCancelled = false
    /// Times that it was sent.
    var attempts = 0
    /// Its connection was lost once already.
    var wasLost = false
    /// Where it is under way, and as what.
    weak var link: Link?
    var stream: UInt32 = 0

    init(_ method: Method, message: [UInt8], attachment: [UInt8], deadline: UInt64) {
        self.method = method
        self.message = message
        self.attachment = attachment
        self.deadline = deadline
    }

    /// Nobody waits for it any more.
    var isOver: Bool { result == nil }

    func finish(_ outcome: Result<Frame, ClientError>) {
        let continuation = result
        result = nil
        link = nil
        continuation?.resume(returning: outcome)
    }
}
