import Bytes

/// A fit between two epochs: `"SAEFIT1\n"`, SHA-256 of what the fit is of, u64 finished epochs, u64 floats a column,
/// then rows, means, variances and the best rows so far, f64 the best cosine; CRC-32C of all before, u32.
struct Checkpoint {
    static let magic = Array("SAEFIT1\n".utf8)

    var rows: [Float]
    var means: [Float]
    var variances: [Float]
    var best: [Float]
    var bestCosine: Double
    var epochs: Int

    func write(to path: String, identity: [UInt8]) throws(FitError) {
        var writer = ByteWriter()
        writer.append(contentsOf: Self.magic)
        writer.append(contentsOf: identity)
        writer.append(UInt64(epochs))
        writer.append(UInt64(rows.count))
        var bytes = writer.bytes
        for column in [rows, means, variances, best] { column.withUnsafeBytes { bytes.append(contentsOf: $0) } }
        withUnsafeBytes(of: bestCosine.bitPattern.littleEndian) { bytes.append(contentsOf: $0) }
        let crc = bytes.withUnsafeBytes { crc32c($0) }
        withUnsafeBytes(of: crc.littleEndian) { bytes.append(contentsOf: $0) }
        try filing { () throws(FileError) in
            var file = try AtomicFileWriter(path)
            try file.append(bytes)
            try file.commit()
        }
    }

    /// The checkpoint at `path`, which must be of the same fit.
    init(_ path: String, identity: [UInt8], floats: Int) throws(FitError) {
        let file = try filing { () throws(FileError) in try MappedFile(path) }
        var reader = ByteReader(file.bytes)
        let expected = 8 + 32 + 16 + 4 * floats * 4 + 8 + 4
        guard file.bytes.count == expected, reader.next(count: 8)?.elementsEqual(Self.magic) == true,
            reader.next(count: 32)?.elementsEqual(identity) == true, let epochs = reader.next(UInt64.self),
            reader.next(UInt64.self) == UInt64(floats),
            crc32c(UnsafeRawBufferPointer(rebasing: file.bytes[..<(expected - 4)]))
                == file.bytes.loadUnaligned(fromByteOffset: expected - 4, as: UInt32.self).littleEndian
        else { throw .foreignCheckpoint(path: path) }
        func column() -> [Float] {
            guard let bytes = reader.next(count: floats * 4) else { return [] }
            return (0..<floats).map { bytes.loadUnaligned(fromByteOffset: $0 * 4, as: Float.self) }
        }
        rows = column()
        means = column()
        variances = column()
        best = column()
        bestCosine = Double(bitPattern: reader.next(UInt64.self) ?? 0)
        self.epochs = Int(epochs)
    }

    init(rows: [Float], means: [Float], variances: [Float], best: [Float], bestCosine: Double, epochs: Int) {
        self.rows = rows
        self.means = means
        self.variances = variances
        self.best = best
        self.bestCosine = bestCosine
        self.epochs = epochs
    }
}
