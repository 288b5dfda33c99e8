/// Calls that wait for a connection, first come first served. Touched on the pool's queue only.
final class CallLine {
    private var all: [PendingCall] = []
    private var head = 0

    var first: PendingCall? { head < all.count ? all[head] : nil }
    var calls: ArraySlice<PendingCall> { all[head...] }

    func append(_ call: PendingCall) { all.append(call) }

    func removeFirst() {
        head += 1
        guard head == all.count || head >= 1_024 else { return }
        all.removeFirst(head)
        head = 0
    }

    func takeAll() -> [PendingCall] {
        defer { (all, head) = ([], 0) }
        return Array(all[head...])
    }
}
