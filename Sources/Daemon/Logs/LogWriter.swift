import CSystemd
import Dispatch
import Glibc
package import Logging
import Synchronization

/// How records look.
package enum LogFormat: Sendable {
    case json, text, journal

    /// The format that `log.format` names; "auto" is the journal when standard error is connected to it, text
    /// on a terminal, else JSON.
    package init(named name: String, environment: [String: String]) {
        switch name {
        case "json": self = .json
        case "text": self = .text
        case "journal": self = .journal
        default: self = environment["JOURNAL_STREAM"] != nil ? .journal : isatty(2) == 1 ? .text : .json
        }
    }
}

/// One log record, whole.
package struct LogRecord: Sendable {
    var level: Logger.Level
    var message: String
    /// Sorted by key.
    var fields: [(key: String, value: String)]
    var microsecondsSince1970: Int64
}

/// Writes records on a queue of its own, so that no worker or I/O queue ever waits for a disk or a pipe. Of
/// more than `capacity` waiting records the newest are dropped and counted.
package final class LogWriter: Sendable {
    private let queue = DispatchQueue(label: "sae.log", qos: .utility)
    private let waiting = Atomic<Int>(0)
    private let dropped: Counter
    private let capacity: Int
    private let sink: @Sendable (LogRecord) -> Void

    /// `sink` takes each record on the writer's queue.
    package init(capacity: Int = 1_024, dropped: Counter, sink: @escaping @Sendable (LogRecord) -> Void) {
        self.capacity = capacity
        self.dropped = dropped
        self.sink = sink
    }

    /// Writes to a descriptor, or to the journal.
    package convenience init(format: LogFormat, descriptor: Int32 = 2, dropped: Counter) {
        self.init(dropped: dropped) { record in
            switch format {
            case .json: Self.write(record.json, to: descriptor)
            case .text: Self.write(record.text, to: descriptor)
            case .journal: record.sendToJournal()
            }
        }
    }

    func take(_ record: LogRecord) {
        guard waiting.load(ordering: .relaxed) < capacity else { return dropped.add() }
        waiting.wrappingAdd(1, ordering: .relaxed)
        queue.async { [self] in
            sink(record)
            waiting.wrappingSubtract(1, ordering: .relaxed)
        }
    }

    /// Returns when everything taken so far is written.
    package func flush() { queue.sync {} }

    private static func write(_ line: String, to descriptor: Int32) {
        var bytes = Array(line.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0 {
                if errno == EINTR { continue }
                return  // nowhere is left to say so
            }
            bytes = bytes.dropFirst(count)
        }
    }
}

extension LogRecord {
    /// One line of JSON: time, level, event and the other fields, message.
    package var json: String {
        var line = "{\"time\":\"\(timestamp)\",\"level\":\"\(level)\""
        for (key, value) in fields { line += ",\"\(key)\":\"\(Self.escaped(value))\"" }
        return line + ",\"message\":\"\(Self.escaped(message))\"}\n"
    }

    /// One line for a person.
    package var text: String {
        let facts = fields.filter { $0.key != "event" }.map { " \($0.key)=\($0.value)" }.joined()
        return "\(timestamp.dropFirst(11).dropLast(4)) \(level): \(message)\(facts)\n"
    }

    private var timestamp: String {
        var seconds = time_t(microsecondsSince1970 / 1_000_000)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        let two = { (number: Int32) in number < 10 ? "0\(number)" : "\(number)" }
        let fraction = String(1_000_000 + microsecondsSince1970 % 1_000_000).dropFirst()
        return "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))"
            + "T\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec)).\(fraction)Z"
    }

    private static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case _ where scalar.value < 0x20:
                result += "\\u00" + (scalar.value < 16 ? "0" : "") + String(scalar.value, radix: 16)
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    fileprivate func sendToJournal() {
        let priority = switch level {
        case .critical: 2
        case .error: 3
        case .warning: 4
        case .notice: 5
        case .info: 6
        case .debug, .trace: 7
        }
        var lines = ["MESSAGE=\(message)", "PRIORITY=\(priority)", "SYSLOG_IDENTIFIER=sae"]
        lines += fields.map { "SAE_\($0.key.uppercased())=\($0.value)" }
        let copies = lines.map { strdup($0) }
        defer { copies.forEach { free($0) } }
        let vectors = zip(copies, lines).map { iovec(iov_base: $0, iov_len: $1.utf8.count) }
        _ = sd_journal_sendv(vectors, Int32(vectors.count))
    }
}

/// swift-log's door to the writer.
package struct WriterLogHandler: LogHandler {
    package var logLevel: Logger.Level
    package var metadata: Logger.Metadata = [:]
    private let writer: LogWriter

    package init(_ writer: LogWriter, level: Logger.Level) {
        self.writer = writer
        logLevel = level
    }

    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    package func log(event: LogEvent) {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        let all = metadata.merging(event.metadata ?? [:]) { $1 }
        let fields = all.map { (key: $0.key, value: "\($0.value)") }.sorted { $0.key < $1.key }
        writer.take(
            LogRecord(
                level: event.level, message: event.message.description, fields: fields,
                microsecondsSince1970: Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1_000))
    }
}
