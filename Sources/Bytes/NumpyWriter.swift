/// Writes a `.npy` file row by row; its name appears with `finish()`, whole, or not at all.
package struct NumpyWriter: ~Copyable {
    package let rowCount: Int
    package let columnCount: Int
    private var file: AtomicFileWriter
    private let path: String
    private var written = 0
    private var buffer: [UInt8]

    /// Starts a float32 matrix of `rowCount` × `columnCount`.
    package init(_ path: String, rowCount: Int, columnCount: Int) throws(FileError) {
        file = try AtomicFileWriter(path)
        self.path = path
        self.rowCount = rowCount
        self.columnCount = columnCount
        buffer = Self.header(.float32, rowCount: rowCount, columnCount: columnCount)
    }

    /// Appends rows: `values` holds a multiple of `columnCount` values, row after row.
    package mutating func append(_ values: some Collection<Float>) throws(FileError) {
        precondition(values.count % columnCount == 0)
        written += values.count / columnCount
        buffer.reserveCapacity(flushSize + values.count * 4)
        for value in values {
            withUnsafeBytes(of: value.bitPattern.littleEndian) { buffer.append(contentsOf: $0) }
        }
        if buffer.count >= flushSize { try flush() }
    }

    /// Makes the file appear under its name. Errors: the disk, or another number of rows than promised.
    package mutating func finish() throws(FileError) {
        guard written == rowCount else {
            throw .format(path: path, reason: "\(written) rows were written where \(rowCount) were promised")
        }
        try flush()
        try file.commit()
    }

    private mutating func flush() throws(FileError) {
        try file.append(buffer)
        buffer.removeAll(keepingCapacity: true)
    }

    /// The header of a matrix: version 1.0, its length a multiple of 64 as the format asks.
    static func header(_ element: NumpyArray.Element, rowCount: Int, columnCount: Int) -> [UInt8] {
        numpyHeader(element: element.rawValue, shape: [rowCount, columnCount])
    }
}

/// The header of an array: version 1.0, 128 bytes for shapes of up to two numbers.
package func numpyHeader(element: String, shape: [Int]) -> [UInt8] {
    let numbers = shape.map(String.init).joined(separator: ", ") + (shape.count == 1 ? "," : "")
    let dictionary = "{'descr': '\(element)', 'fortran_order': False, 'shape': (\(numbers)), }"
    let length = (numpyMagic.count + 4 + dictionary.utf8.count + 1 + 63) / 64 * 64
    var writer = ByteWriter()
    writer.append(contentsOf: numpyMagic)
    writer.append(contentsOf: [1, 0])
    writer.append(UInt16(length - numpyMagic.count - 4))
    writer.append(contentsOf: dictionary.utf8)
    while writer.bytes.count < length - 1 { writer.append(UInt8(ascii: " ")) }
    writer.append(UInt8(ascii: "\n"))
    return writer.bytes
}

/// Rows are gathered to about a megabyte between two system calls.
private let flushSize = 1 << 20
