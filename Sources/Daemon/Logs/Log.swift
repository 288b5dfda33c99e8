package import Logging
import Synchronization
import Transport

/// The daemon's one way to log: events from the enumeration, facts by key, a bound on the rate of each event.
package final class Log: Sendable {
    private struct Window {
        var second: UInt64 = 0
        var written = 0
        var suppressed = 0
    }

    private let logger: Logger
    private let level: Atomic<Int>
    private let windows: [Mutex<Window>.Holder]

    package init(_ logger: Logger) {
        level = Atomic(Self.rank(logger.logLevel))
        var logger = logger
        logger.logLevel = .trace
        self.logger = logger
        windows = Event.allCases.map { _ in Mutex<Window>.Holder(Window()) }
    }

    /// A log whose records go to `writer`, from the level of that name on.
    package convenience init(_ writer: LogWriter, levelNamed name: String) {
        let level = Logger.Level(rawValue: name) ?? .info
        self.init(Logger(label: "sae", factory: { _ in WriterLogHandler(writer, level: level) }))
    }

    /// True when `event` would be written: lets a caller leave out costly facts.
    package func takes(_ event: Event) -> Bool { Self.rank(event.level) >= level.load(ordering: .relaxed) }

    /// From now on only events of that level and above are written.
    package func setLevel(named name: String) {
        if let level = Logger.Level(rawValue: name) { self.level.store(Self.rank(level), ordering: .relaxed) }
    }

    private static func rank(_ level: Logger.Level) -> Int { Logger.Level.allCases.firstIndex(of: level) ?? 0 }

    package func write(_ event: Event, _ facts: [LogKey: String] = [:]) {
        guard takes(event) else { return }
        var suppressed = 0
        if event.perSecond < .max, let index = Event.allCases.firstIndex(of: event) {
            let second = monotonicNanoseconds() / 1_000_000_000
            let mayWrite = windows[index].mutex.withLock { window in
                if window.second != second {
                    suppressed = window.suppressed
                    window = Window(second: second)
                }
                guard window.written < event.perSecond else {
                    window.suppressed += 1
                    return false
                }
                window.written += 1
                return true
            }
            guard mayWrite else { return }
        }
        var metadata: Logger.Metadata = ["event": .string(event.rawValue)]
        for (key, value) in facts { metadata[key.rawValue] = .string(value) }
        if suppressed > 0 { metadata[LogKey.count.rawValue] = .stringConvertible(suppressed + 1) }
        logger.log(level: event.level, event.message, metadata: metadata)
    }
}

extension Mutex where Value: Sendable {
    /// A lock that can stand in an array.
    fileprivate final class Holder: Sendable {
        let mutex: Mutex<Value>
        init(_ value: Value) { mutex = Mutex(value) }
    }
}
