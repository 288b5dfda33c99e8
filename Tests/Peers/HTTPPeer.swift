import Glibc
package import Transport

/// One answer over HTTP/1.1.
package struct HTTPAnswer: Sendable {
    package let status: Int
    /// Names in small letters.
    package let fields: [String: String]
    package let body: [UInt8]
    package var text: String { String(decoding: body, as: UTF8.self) }
}

/// A connection to the HTTP port in the hands of somebody who need not keep the rules: any bytes out, answers back.
package final class HTTPPeer {
    package struct Impatient: Error {}
    package struct NoHTTP: Error { package let bytes: String }

    private let socket: Socket
    private var bytes: [UInt8] = []
    private var buffer = [UInt8](repeating: 0, count: 65_536)
    /// The daemon has ended the connection.
    package private(set) var isOver = false

    package init(_ endpoint: Endpoint, receiveBytes: Int32? = nil) throws {
        socket = try Socket.connecting(to: endpoint)
        if var size = receiveBytes {
            setsockopt(socket.number, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size))
        }
    }

    /// Sends `text` until the daemon has closed or has taken nothing for five seconds by `patience`.
    package func send(_ text: String) async throws { try await send(Array(text.utf8)) }

    package func send(_ bytes: [UInt8]) async throws {
        var rest = bytes[...]
        var end = deadline(in: 5)
        while !rest.isEmpty, ContinuousClock.now < end {
            let count = rest.withUnsafeBytes { Glibc.send(socket.number, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            if count >= 0 {
                rest = rest.dropFirst(count)
                end = deadline(in: 5)
            } else if errno == EAGAIN {
                try await Task.sleep(for: .milliseconds(1))
            } else {
                return
            }
        }
    }

    /// A request with what every route wants in its head.
    package static func request(
        _ method: String, _ path: String, _ body: String? = nil, fields: [String] = [], host: String = "localhost"
    ) -> String {
        var lines = ["\(method) \(path) HTTP/1.1", "host: \(host)"] + fields
        if let body { lines += ["content-type: application/json", "content-length: \(body.utf8.count)"] }
        return lines.joined(separator: "\r\n") + "\r\n\r\n" + (body ?? "")
    }

    /// Asks and waits for the answer.
    package func ask(
        _ method: String, _ path: String, _ body: String? = nil, fields: [String] = []
    ) async throws -> HTTPAnswer {
        try await send(Self.request(method, path, body, fields: fields))
        return try await answer(isHead: method == "HEAD")
    }

    /// The next answer, waited for at most `seconds` by `patience`.
    package func answer(within seconds: Double = 20, isHead: Bool = false) async throws -> HTTPAnswer {
        let last = deadline(in: seconds)
        while true {
            if let answer = try takeAnswer(isHead: isHead) { return answer }
            guard !isOver else { throw NoHTTP(bytes: String(decoding: bytes, as: UTF8.self)) }
            try await readMore(last)
        }
    }

    /// Waits until the daemon has ended the connection, at most `seconds` by `patience`; what it said that was no whole answer.
    @discardableResult
    package func remainder(within seconds: Double = 20) async throws -> String {
        let last = deadline(in: seconds)
        while !isOver { try await readMore(last) }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// No more bytes will come from here.
    package func finishSending() { shutdown(socket.number, Int32(SHUT_WR)) }

    private func readMore(_ last: ContinuousClock.Instant) async throws {
        let count = recv(socket.number, &buffer, buffer.count, 0)
        if count > 0 {
            bytes += buffer[..<count]
        } else if count < 0, errno == EAGAIN {
            guard ContinuousClock.now < last else { throw Impatient() }
            try await Task.sleep(for: .milliseconds(1))
        } else {
            isOver = true
        }
    }

    private func takeAnswer(isHead: Bool) throws -> HTTPAnswer? {
        let end = [13, 10, 13, 10] as [UInt8]
        guard let head = bytes.indices.first(where: { bytes[$0...].starts(with: end) }) else { return nil }
        let lines = String(decoding: bytes[..<head], as: UTF8.self).split(separator: "\r\n")
        let words = (lines.first ?? "").split(separator: " ")
        guard words.count >= 2, words[0] == "HTTP/1.1", let status = Int(words[1]) else {
            throw NoHTTP(bytes: String(decoding: bytes, as: UTF8.self))
        }
        var fields: [String: String] = [:]
        for line in lines.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            fields[parts[0].lowercased()] = parts.count > 1 ? parts[1].drop { $0 == " " }.description : ""
        }
        let length = isHead || status == 100 ? 0 : Int(fields["content-length"] ?? "0") ?? 0
        guard bytes.count >= head + 4 + length else { return nil }
        let body = Array(bytes[(head + 4)..<(head + 4 + length)])
        bytes.removeFirst(head + 4 + length)
        return HTTPAnswer(status: status, fields: fields, body: body)
    }
}
