import Bytes
import Glibc

/// A fit between two epochs, in a file:
/// `"SAEFIT3\n"` · SHA-256 of what the fit is of · u64 finished epochs · u64 steps · u64 floats a column · f64 best
/// agreement · four columns of float32: parameters, means, variances, best parameters · u32 CRC-32C of all before.
package struct FittingCheckpoint {
    var epochCount: Int
    var step: Int
    var numbers: [Float]
    var means: [Float]
    var variances: [Float]
    var bestAgreement: Double
    var bestNumbers: [Float]

    private static let magic = Array("SAEFIT3\n".utf8)
    /// What the magics of all versions begin with.
    private static let family = magic.prefix(6)
    private static let headBytes = 8 + 32 + 4 * 8

    func write(to path: String, identity: [UInt8]) throws(FittingError) {
        var head = ByteWriter()
        head.append(contentsOf: Self.magic)
        head.append(contentsOf: identity)
        for number in [UInt64(epochCount), UInt64(step), UInt64(numbers.count), bestAgreement.bitPattern] {
            head.append(number)
        }
        try reading { () throws(FileError) in
            var file = try AtomicFileWriter(path)
            try file.append(head.bytes)
            var crc = head.bytes.withUnsafeBytes { crc32c($0) }
            for column in [numbers, means, variances, bestNumbers] {
                let bytes = column.withUnsafeBytes { Array($0) }
                crc = bytes.withUnsafeBytes { crc32c($0, seed: crc) }
                try file.append(bytes)
            }
            var tail = ByteWriter()
            tail.append(crc)
            try file.append(tail.bytes)
            try file.commit()
        }
    }
}

extension FittingCheckpoint {
    /// Refuses a path at which something else stands: a fit would write over it.
    package static func checkPlace(_ path: String) throws(FittingError) {
        guard access(path, F_OK) == 0 else { return }
        let file = try reading { () throws(FileError) in try MappedFile(path) }
        let isOurs = withExtendedLifetime(file) { file.bytes.isEmpty || file.bytes.starts(with: family) }
        guard isOurs else { throw .checkpoint(path: path, reason: "is no checkpoint of a fit, and would be written over") }
    }

    /// The checkpoint at `path`, which must be of the same fit and whole.
    init(_ path: String, identity: [UInt8], floatCount: Int) throws(FittingError) {
        let file = try reading { () throws(FileError) in try MappedFile(path) }
        defer { withExtendedLifetime(file) {} }
        let size = Self.headBytes + 16 * floatCount + 4
        var reader = ByteReader(file.bytes)
        guard reader.next(count: 8)?.elementsEqual(Self.magic) == true else {
            throw .checkpoint(path: path, reason: "not a checkpoint of a fit")
        }
        guard reader.next(count: 32)?.elementsEqual(identity) == true else {
            throw .checkpoint(path: path, reason: "a checkpoint of a fit with other material or options")
        }
        guard file.bytes.count == size, let epochs: UInt64 = reader.next(), let steps: UInt64 = reader.next(),
            reader.next() == UInt64(floatCount), let agreement: UInt64 = reader.next(),
            crc32c(UnsafeRawBufferPointer(rebasing: file.bytes[..<(size - 4)]))
                == UInt32(littleEndian: file.bytes.loadUnaligned(fromByteOffset: size - 4, as: UInt32.self))
        else { throw .checkpoint(path: path, reason: "the checkpoint is damaged or cut off") }
        let columns = (0..<4).map { column in
            [Float](unsafeUninitializedCapacity: floatCount) { buffer, count in
                let first = Self.headBytes + column * floatCount * 4
                UnsafeMutableRawBufferPointer(buffer).copyBytes(from: file.bytes[first..<(first + floatCount * 4)])
                count = floatCount
            }
        }
        self.init(
            epochCount: Int(epochs), step: Int(steps), numbers: columns[0], means: columns[1], variances: columns[2],
            bestAgreement: Double(bitPattern: agreement), bestNumbers: columns[3])
    }
}
