import CSystemd
import Dispatch
import Synchronization

/// Talks to the service manager over `NOTIFY_SOCKET`; without one, every call is nothing.
final class Notifier: Sendable {
    private let queue = DispatchQueue(label: "sae.watchdog")
    private let isPinging = Atomic<Bool>(false)

    func status(_ text: String) { send("STATUS=\(text)") }
    func ready(status: String) { send("READY=1\nSTATUS=\(status)") }

    func stopping() {
        send("STOPPING=1\nSTATUS=draining")
    }

    /// Pings at a third of the watchdog's time, and only while `isAdvancing` says so.
    func startWatchdog(_ isAdvancing: @escaping @Sendable () -> Bool) {
        var microseconds: UInt64 = 0
        guard sd_watchdog_enabled(0, &microseconds) > 0, microseconds > 0,
            !isPinging.exchange(true, ordering: .relaxed)
        else { return }
        ping(every: max(1, Int(microseconds / 3_000)), isAdvancing)
    }

    private func ping(every milliseconds: Int, _ isAdvancing: @escaping @Sendable () -> Bool) {
        if isAdvancing() { send("WATCHDOG=1") }
        queue.asyncAfter(deadline: .now() + .milliseconds(milliseconds)) { [weak self] in
            self?.ping(every: milliseconds, isAdvancing)
        }
    }

    private func send(_ message: String) { sd_notify(0, message) }
}
