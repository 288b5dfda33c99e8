import CSystemd
import Dispatch
import Glibc
import Synchronization
import Transport

/// Talks to the service manager over `NOTIFY_SOCKET`; without one, every call is nothing.
final class Notifier: Sendable {
    private let queue = DispatchQueue(label: "sae.watchdog")
    private let isPinging = Atomic<Bool>(false)
    private let isStopping = Atomic<Bool>(false)

    func status(_ text: String) { send("STATUS=\(text)") }
    /// The start of a reload, which `ready` ends (sd_notify(3): with the time, so that the manager can tell two apart).
    func reloading() { sendUnlessStopping("RELOADING=1\nMONOTONIC_USEC=\(monotonicNanoseconds() / 1_000)") }
    func ready(status: String) { sendUnlessStopping("READY=1\nSTATUS=\(status)") }

    func stopping() {
        isStopping.store(true, ordering: .relaxed)
        send("STOPPING=1\nSTATUS=draining")
    }

    /// To a manager that was told of the end, nothing else is said of the daemon's state: it would take the end back.
    private func sendUnlessStopping(_ message: String) {
        if !isStopping.load(ordering: .relaxed) { send(message) }
    }

    /// Shows the manager, if there is one, what `text` says, every ten seconds while it says something.
    func keepStatus(_ text: @escaping @Sendable () -> String?) {
        guard getenv("NOTIFY_SOCKET") != nil else { return }
        queue.asyncAfter(deadline: .now() + .seconds(10)) { [weak self] in
            guard let self, let status = text() else { return }
            self.status(status)
            keepStatus(text)
        }
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
