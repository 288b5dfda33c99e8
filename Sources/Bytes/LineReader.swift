import CZlib
import Glibc

/// Reads a file line by line, plain or gzip (told apart by its first bytes). Lines end with `\n`, which is not
/// part of them; the last one may lack it. Lines are bytes: nothing is decoded.
package struct LineReader: ~Copyable {
    private let file: gzFile
    private let path: String
    private let maximumLineBytes: Int
    private let cutsLonger: Bool
    private var number = 0
    private var buffer: [UInt8]
    private var position = 0
    private var filled = 0

    /// Opens `path`; a line longer than `maximumLineBytes` is an error when it is met, or with `cutsLonger` loses its end.
    package init(_ path: String, maximumLineBytes: Int = 1 << 24, cutsLonger: Bool = false) throws(FileError) {
        guard let file = gzopen(path, "rbe") else {
            throw .system(operation: "open", path: path, errno: errno == 0 ? ENOMEM : errno)
        }
        self.file = file
        self.path = path
        self.maximumLineBytes = maximumLineBytes
        self.cutsLonger = cutsLonger
        buffer = [UInt8](repeating: 0, count: 1 << 18)
        gzbuffer(file, 1 << 17)
    }

    deinit { gzclose_r(file) }

    /// Appends the next line to `line` and tells whether there was one. Errors: the disk, damaged or cut-off gzip
    /// data, a line over the limit.
    package mutating func appendNext(to line: inout [UInt8]) throws(FileError) -> Bool {
        let start = line.count
        number += 1
        while true {
            if position == filled {
                try fill()
                if filled == 0 { return line.count > start }
            }
            let end = buffer[position..<filled].firstIndex(of: UInt8(ascii: "\n"))
            line.append(contentsOf: buffer[position..<(end ?? filled)])
            if line.count - start > maximumLineBytes {
                guard cutsLonger else {
                    throw .format(path: path, reason: "line \(number) is longer than \(maximumLineBytes) bytes")
                }
                line.removeLast(line.count - start - maximumLineBytes)
            }
            position = end.map { $0 + 1 } ?? filled
            if end != nil { return true }
        }
    }

    private mutating func fill() throws(FileError) {
        let count = buffer.withUnsafeMutableBytes { gzread(file, $0.baseAddress, UInt32($0.count)) }
        var code: Int32 = Z_OK
        let message = gzerror(file, &code)
        guard count >= 0, code == Z_OK || code == Z_STREAM_END else {
            if code == Z_ERRNO { throw .system(operation: "read", path: path, errno: errno) }
            let reason = code == Z_BUF_ERROR ? "the gzip data end too early" : message.map { String(cString: $0) }
            throw .format(path: path, reason: reason ?? "damaged gzip data")
        }
        position = 0
        filled = Int(count)
    }
}

/// The lines of a file in memory, end to end.
package struct TextLines: Sendable {
    package private(set) var bytes: [UInt8] = []
    /// Where line i ends in `bytes`; it begins where line i − 1 ends.
    package private(set) var ends: [Int] = []

    /// Whether the file has more lines than were to be read.
    package private(set) var hasMore = false

    package init() {}

    /// Reads all lines of `path`, plain or gzip, or the first `maximumCount`.
    package init(contentsOf path: String, maximumCount: Int = .max) throws(FileError) {
        var reader = try LineReader(path)
        while ends.count < maximumCount {
            guard try reader.appendNext(to: &bytes) else { return }
            ends.append(bytes.count)
        }
        var next: [UInt8] = []
        hasMore = try reader.appendNext(to: &next)
    }

    package var count: Int { ends.count }

    package mutating func append(_ line: some Sequence<UInt8>) {
        bytes.append(contentsOf: line)
        ends.append(bytes.count)
    }

    /// Where line `index` lies in `bytes`.
    package func range(_ index: Int) -> Range<Int> { (index == 0 ? 0 : ends[index - 1])..<ends[index] }

    package subscript(index: Int) -> ArraySlice<UInt8> { bytes[range(index)] }
}
