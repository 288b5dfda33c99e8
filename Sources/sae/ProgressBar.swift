/// Progress of a long command on standard error: a bar, the rate, a note (such as a loss) and the time left.
/// On a terminal one line, rewritten at most ten times a second; elsewhere a plain line every 5 %.
///
/// ```swift
/// var bar = ProgressBar(title: "epoch 1", total: rows, unit: "rows")
/// bar.update(done: 65_536, note: "loss 0.0312")
/// bar.finish()
/// ```
struct ProgressBar {
    let title: String
    let total: Int
    let unit: String
    private let isInteractive: Bool
    private let start: ContinuousClock.Instant
    private var lastShown: ContinuousClock.Instant?
    private var nextPlainPercent = 0
    private var done = 0
    private var note = ""

    /// `unit`: what is counted, in the plural. `total` 0 is shown as finished.
    init(title: String, total: Int, unit: String, isInteractive: Bool = Terminal.isInteractive) {
        self.title = title
        self.total = total
        self.unit = unit
        self.isInteractive = isInteractive
        start = .now
    }

    /// Says that `done` of `total` are done; may be called as often as wanted.
    mutating func update(done: Int, note: String = "") {
        self.done = done
        self.note = note
        let now = ContinuousClock.now
        if isInteractive {
            if let lastShown, now - lastShown < .milliseconds(100) { return }
            lastShown = now
            Terminal.write("\r\(line(at: now))\u{1B}[K")
        } else if percent >= nextPlainPercent {
            nextPlainPercent = (percent / 5 + 1) * 5
            Terminal.write(line(at: now) + "\n")
        }
    }

    /// Shows the last state and ends the line.
    mutating func finish() {
        if isInteractive {
            Terminal.write("\r\(line(at: .now))\u{1B}[K\n")
        } else if nextPlainPercent <= 100 {
            Terminal.write(line(at: .now) + "\n")
        }
    }

    private var percent: Int { total == 0 ? 100 : done * 100 / total }

    private func line(at now: ContinuousClock.Instant) -> String {
        let elapsed = (now - start) / .seconds(1)
        let rate = elapsed > 0 ? Double(done) / elapsed : 0
        var parts = [title]
        if isInteractive {
            let full = min(percent, 100) * 24 / 100
            parts.append(
                "[" + String(repeating: "#", count: full) + String(repeating: ".", count: 24 - full) + "]")
        }
        parts.append("\(percent) %")
        // What an earlier run did counts as done at once: a rate says something after a while only.
        let isRateKnown = elapsed >= 1
        let amount = unit == "bytes" ? "\(Self.size(done)) of \(Self.size(total))" : "\(done)/\(total) \(unit)"
        parts.append(isRateKnown ? "\(amount), \(unit == "bytes" ? Self.size(Int(rate)) : "\(Int(rate))")/s" : amount)
        if !note.isEmpty { parts.append(note) }
        if done < total, !isRateKnown { return parts.joined(separator: "  ") }
        if done < total, rate > 0 {
            parts.append("\(Self.clock(Double(total - done) / rate)) left")
        } else {
            parts.append(Self.clock(elapsed))
        }
        return parts.joined(separator: "  ")
    }

    /// Bytes, as kB, MB or GB of powers of ten.
    static func size(_ bytes: Int) -> String {
        for (unit, name) in [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")] where bytes >= unit {
            return "\(bytes / unit).\(bytes % unit * 10 / unit) \(name)"
        }
        return "\(bytes) bytes"
    }

    /// `m:ss`, or `h:mm:ss`.
    static func clock(_ seconds: Double) -> String {
        let whole = Int(min(max(seconds.rounded(), 0), 1e9))
        let two = { (n: Int) in n < 10 ? "0\(n)" : "\(n)" }
        let (hours, minutes) = (whole / 3600, whole / 60 % 60)
        return hours > 0 ? "\(hours):\(two(minutes)):\(two(whole % 60))" : "\(minutes):\(two(whole % 60))"
    }
}
