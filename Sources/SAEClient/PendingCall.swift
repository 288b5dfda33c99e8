import Wire

/// One call on its way, through all its attempts. Touched on the pool's queue only, which is what makes it safe as
/// `Sendable`.
final class PendingCall: @unchecked Sendable {
    let method: Method
    let message: [UInt8]
    let attachment: [UInt8]
    /// Of a streaming call until it has begun; then it has none.
    private(set) var deadline: UInt64
    /// What a streaming call says and hears.
    let conversation: Conversation?
    var result: CheckedContinuation<Result<Frame, ClientError>, Never>?
    var isCancelled = false
    /// Times that it was sent.
    var attempts = 0
    /// When the server refused it first.
    var refusedSince: UInt64?
    /// Its connection was lost once already.
    var wasLost = false
    /// Where it is under way, and as what.
    weak var link: Link?
    var stream: UInt32 = 0

    init(_ method: Method, message: [UInt8], attachment: [UInt8] = [], deadline: UInt64, conversation: Conversation? = nil) {
        self.method = method
        self.message = message
        self.attachment = attachment
        self.deadline = deadline
        self.conversation = conversation
    }

    /// Nobody waits for it any more.
    var isOver: Bool { result == nil && conversation?.hasEnded ?? true }
    /// A streaming call that is under way: after a loss it is not made again, because some of it may be done.
    var isConversing: Bool { result == nil && conversation?.hasEnded == false }

    /// A streaming call is on its way: `frame` is what whoever opened it gets.
    func begin(_ frame: Frame) {
        let continuation = result
        result = nil
        deadline = .max
        continuation?.resume(returning: .success(frame))
        conversation?.begin(self)
    }

    /// A streaming call whose REQUEST the server has refused is made again, if a connection takes it by then.
    func reopen(until deadline: UInt64) { if isConversing { self.deadline = deadline } }

    func finish(_ outcome: Result<Frame, ClientError>) {
        let continuation = result
        result = nil
        link = nil
        conversation?.finish(outcome.map { _ in })
        continuation?.resume(returning: outcome)
    }
}
