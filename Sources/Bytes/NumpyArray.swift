import Glibc

/// A `.npy` file of one or two dimensions, mapped for reading: C order, little-endian float32, float16 or int8.
///
/// Layout (NumPy's format specification, versions 1 to 3):
/// `93 4E 55 4D 50 59` · major, minor · header length (u16 in version 1, else u32) · a Python dictionary with
/// `descr`, `fortran_order` and `shape`, padded with spaces · the values, row-major.
package final class NumpyArray: Sendable {
    /// What one value is; the raw value is NumPy's `descr`.
    package enum Element: String, Sendable {
        case float32 = "<f4"
        case float16 = "<f2"
        case int8 = "|i1"

        package var size: Int {
            switch self {
            case .float32: 4
            case .float16: 2
            case .int8: 1
            }
        }
    }

    package let element: Element
    package let rowCount: Int
    /// Values a row; 1 for a one-dimensional array.
    package let columnCount: Int
    private let file: MappedFile
    private let start: Int

    package var path: String { file.path }

    /// The bytes of the whole file, header included, as a digest needs them.
    package var fileBytes: UnsafeRawBufferPointer { file.bytes }

    /// Opens and checks `path`. Errors: no such file, not a `.npy` file, another element type or order, a length
    /// that does not fit the shape.
    package init(_ path: String) throws(FileError) {
        file = try MappedFile(path)
        var reader = ByteReader(file.bytes)
        guard let magic = reader.next(count: 6), magic.elementsEqual(numpyMagic) else {
            throw .format(path: path, reason: "not a .npy file")
        }
        guard let major: UInt8 = reader.next(), reader.next(UInt8.self) != nil, (1...3).contains(major) else {
            throw .format(path: path, reason: "unknown version of the .npy format")
        }
        let length = major == 1 ? reader.next(UInt16.self).map(Int.init) : reader.next(UInt32.self).map(Int.init)
        guard let length, let dictionary = reader.next(count: length) else {
            throw .format(path: path, reason: "the header is cut off")
        }
        let header = String(decoding: dictionary, as: UTF8.self)
        guard let descr = numpyValue(of: "descr", in: header), let element = Element(rawValue: descr) else {
            throw .format(path: path, reason: "the values are not little-endian float32, float16 or int8")
        }
        guard numpyValue(of: "fortran_order", in: header) == "False" else {
            throw .format(path: path, reason: "the values are not in C order")
        }
        let sizes = numpyValue(of: "shape", in: header)?.split(separator: ",").map { Int($0.trimmed) } ?? []
        guard (1...2).contains(sizes.count), let rows = sizes[0], let columns = sizes.count == 2 ? sizes[1] : 1,
            rows >= 0, columns > 0
        else { throw .format(path: path, reason: "the shape is not that of a vector or a matrix") }
        let (count, overflow) = rows.multipliedReportingOverflow(by: columns)
        guard !overflow, count <= reader.remaining / element.size, count * element.size == reader.remaining else {
            throw .format(path: path, reason: "\(reader.remaining) bytes of values do not make \(rows) x \(columns)")
        }
        self.element = element
        rowCount = rows
        columnCount = columns
        start = reader.offset
    }

    /// Writes row `row` as float32 to the first `columnCount` elements of `output`, unscaled. Does not allocate.
    package func copyRow(_ row: Int, into output: UnsafeMutableBufferPointer<Float>) {
        precondition(row >= 0 && row < rowCount && output.count >= columnCount)
        guard let base = file.bytes.baseAddress else { return }
        let source = base + start + row * columnCount * element.size
        switch element {
        case .float32:
            for column in 0..<columnCount {
                let bits = source.loadUnaligned(fromByteOffset: column * 4, as: UInt32.self)
                output[column] = Float(bitPattern: UInt32(littleEndian: bits))
            }
        case .float16:
            for column in 0..<columnCount {
                let bits = source.loadUnaligned(fromByteOffset: column * 2, as: UInt16.self)
                output[column] = Float(Float16(bitPattern: UInt16(littleEndian: bits)))
            }
        case .int8:
            for column in 0..<columnCount {
                output[column] = Float(source.load(fromByteOffset: column, as: Int8.self))
            }
        }
    }

    /// Row `row` as an array.
    package func row(_ row: Int) -> [Float] {
        [Float](unsafeUninitializedCapacity: columnCount) { buffer, count in
            copyRow(row, into: buffer)
            count = columnCount
        }
    }
}

let numpyMagic: [UInt8] = [0x93] + Array("NUMPY".utf8)

/// The text behind `'key':` in the header's dictionary: without quotes, or the inside of a tuple.
private func numpyValue(of key: String, in header: String) -> String? {
    let parts = header.split(separator: "'", omittingEmptySubsequences: false)
    guard let at = parts.firstIndex(where: { $0 == key }), at + 1 < parts.count else { return nil }
    let rest = parts[at + 1].trimmed
    guard rest.first == ":" else { return nil }
    let value = rest.dropFirst().trimmed
    if value.isEmpty { return at + 2 < parts.count ? String(parts[at + 2]) : nil }
    if value.first == "(" { return value.firstIndex(of: ")").map { String(value[..<$0].dropFirst()) } }
    return String(value.prefix { $0.isLetter })
}

extension Substring {
    fileprivate var trimmed: Substring {
        var text = self
        while text.first == " " { text.removeFirst() }
        while text.last == " " { text.removeLast() }
        return text
    }
}
