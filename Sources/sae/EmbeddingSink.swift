import ArgumentParser
import Bytes
import Glibc

enum EmbeddingFormat: String, ExpressibleByArgument, CaseIterable {
    /// NumPy's array file: float32, rows x dimensions.
    case npy
    /// A JSON object a line: `line`, `text`, `embedding`.
    case jsonl
    /// The numbers of a vector a line, separated by spaces.
    case text
}

/// Writes vectors as they come; an output file appears under its name when `finish` succeeds.
struct EmbeddingSink: ~Copyable {
    private let format: EmbeddingFormat
    private let path: String?
    private var file: AtomicFileWriter?
    private var buffer: [UInt8] = []
    /// The number of rows stands at the front of an .npy file: where it is not known, the rows are kept until the end.
    private let rowCount: Int?
    private var rows: [Float] = []
    private var array: NumpyWriter?

    /// `rowCount`: how many vectors will come, if that is known.
    init(format: EmbeddingFormat, path: String?, rowCount: Int?) throws(FileError) {
        self.format = format
        self.path = path
        self.rowCount = rowCount
        if let path, format != .npy { file = try AtomicFileWriter(path) }
    }

    /// `number`: the text's place in the input, from 1.
    mutating func append(_ vector: ArraySlice<Float>, text: ArraySlice<UInt8>, number: Int) throws(FileError)
    {
        switch format {
        case .npy:
            guard let path, let rowCount else {
                rows += vector
                return
            }
            if array == nil { array = try NumpyWriter(path, rowCount: rowCount, columnCount: vector.count) }
            try array?.append(vector)
            return
        case .text:
            appendNumbers(vector, separator: UInt8(ascii: " "))
        case .jsonl:
            buffer += "{\"line\":\(number),\"text\":\"".utf8
            appendEscaped(String(decoding: text, as: UTF8.self))
            buffer += "\",\"embedding\":[".utf8
            appendNumbers(vector, separator: UInt8(ascii: ","))
            buffer += "]}".utf8
        }
        buffer.append(UInt8(ascii: "\n"))
        if buffer.count > 1 << 16 { try flush() }
    }

    /// `columnCount`: the length of the vectors, also where there is none.
    mutating func finish(columnCount: Int) throws(FileError) {
        if array != nil {
            try array?.finish()
            return
        }
        if format == .npy, let path {
            var writer = try NumpyWriter(path, rowCount: rows.count / columnCount, columnCount: columnCount)
            try writer.append(rows)
            try writer.finish()
            return
        }
        try flush()
        try file?.commit()
    }

    private mutating func flush() throws(FileError) {
        defer { buffer.removeAll(keepingCapacity: true) }
        if file != nil {
            try file?.append(buffer)
            return
        }
        var done = 0
        while done < buffer.count {
            let count = buffer.withUnsafeBytes {
                Glibc.write(STDOUT_FILENO, $0.baseAddress.map { $0 + done }, $0.count - done)
            }
            if count < 0 {
                if errno == EINTR { continue }
                throw .system(operation: "write", path: "standard output", errno: errno)
            }
            done += count
        }
    }

    /// Shortest decimals that read back as the same float.
    private mutating func appendNumbers(_ vector: ArraySlice<Float>, separator: UInt8) {
        for (index, value) in vector.enumerated() {
            if index > 0 { buffer.append(separator) }
            buffer += value.description.utf8
        }
    }

    private mutating func appendEscaped(_ text: String) {
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""): buffer += "\\\"".utf8
            case UInt8(ascii: "\\"): buffer += "\\\\".utf8
            case 0..<0x20:
                let digits = String(byte, radix: 16)
                buffer += ("\\u00" + (digits.count < 2 ? "0" : "") + digits).utf8
            default: buffer.append(byte)
            }
        }
    }
}
