import Bytes

/// What the journal says of one committed chunk, in 80 bytes, little-endian. The chunk exists iff its record is whole and right.
///
/// ```
/// offset  0      4      12         20    24      28         36        44          52        56          60     76
///         "SAEJ" chunk  first row  rows  failed  input end  rows end  errors end  rows crc  errors crc  zeros  crc
/// bytes   4      8      8          4     4       8          8         8           4         4           16     4
/// ```
/// The ends are offsets in the files. `rows crc` is CRC-32C of the chunk's bytes in the rows, then of those in the scales where
/// there are any; the last one of the record's first 76 bytes.
package struct JournalRecord: Sendable, Equatable {
    package var chunk: Int
    package var firstRow: Int
    package var rowCount: Int
    package var failedCount: Int
    package var inputEnd: Int
    package var rowsEnd: Int
    package var errorsEnd: Int
    package var rowsCRC: UInt32
    package var errorsCRC: UInt32

    package static let byteCount = 80

    package init(
        chunk: Int, firstRow: Int, rowCount: Int, failedCount: Int, inputEnd: Int, rowsEnd: Int, errorsEnd: Int, rowsCRC: UInt32,
        errorsCRC: UInt32
    ) {
        self.chunk = chunk
        self.firstRow = firstRow
        self.rowCount = rowCount
        self.failedCount = failedCount
        self.inputEnd = inputEnd
        self.rowsEnd = rowsEnd
        self.errorsEnd = errorsEnd
        self.rowsCRC = rowsCRC
        self.errorsCRC = errorsCRC
    }

    package var bytes: [UInt8] {
        var writer = ByteWriter()
        writer.append(contentsOf: Array("SAEJ".utf8))
        writer.append(UInt64(chunk))
        writer.append(UInt64(firstRow))
        writer.append(UInt32(rowCount))
        writer.append(UInt32(failedCount))
        writer.append(UInt64(inputEnd))
        writer.append(UInt64(rowsEnd))
        writer.append(UInt64(errorsEnd))
        writer.append(rowsCRC)
        writer.append(errorsCRC)
        writer.append(contentsOf: [UInt8](repeating: 0, count: 16))
        writer.append(writer.bytes.withUnsafeBytes { crc32c($0) })
        return writer.bytes
    }

    /// Nil for bytes that are no whole and right record.
    package init?(_ bytes: ArraySlice<UInt8>) {
        guard bytes.count == Self.byteCount else { return nil }
        let record: JournalRecord? = bytes.withUnsafeBytes { raw in
            var reader = ByteReader(raw)
            guard let magic = reader.next(count: 4), magic.elementsEqual("SAEJ".utf8),
                let chunk = reader.next(UInt64.self), let firstRow = reader.next(UInt64.self),
                let rows = reader.next(UInt32.self), let failed = reader.next(UInt32.self),
                let inputEnd = reader.next(UInt64.self), let rowsEnd = reader.next(UInt64.self),
                let errorsEnd = reader.next(UInt64.self), let rowsCRC = reader.next(UInt32.self),
                let errorsCRC = reader.next(UInt32.self), let zeros = reader.next(count: 16), zeros.allSatisfy({ $0 == 0 }),
                let crc = reader.next(UInt32.self), crc == crc32c(UnsafeRawBufferPointer(rebasing: raw[..<76])),
                [chunk, firstRow, inputEnd, rowsEnd, errorsEnd].allSatisfy({ $0 < 1 << 60 })
            else { return nil }
            return JournalRecord(
                chunk: Int(chunk), firstRow: Int(firstRow), rowCount: Int(rows), failedCount: Int(failed),
                inputEnd: Int(inputEnd), rowsEnd: Int(rowsEnd), errorsEnd: Int(errorsEnd), rowsCRC: rowsCRC, errorsCRC: errorsCRC)
        }
        guard let record else { return nil }
        self = record
    }

    /// True when this may stand behind `before` in a journal: nil for the first record.
    func follows(_ before: JournalRecord?, _ plan: CorpusPlan) -> Bool {
        let (first, input) = before.map { ($0.firstRow + $0.rowCount, $0.inputEnd) } ?? (0, 0)
        let (rows, errors) = before.map { ($0.rowsEnd, $0.errorsEnd) } ?? (plan.headerBytes, 0)
        let isRightSize = plan.output == .jsonl ? rowsEnd > rows : rowsEnd == rows + rowCount * plan.rowBytes
        return chunk == (before.map { $0.chunk + 1 } ?? 0) && firstRow == first && rowCount > 0 && failedCount <= rowCount
            && inputEnd > input && isRightSize && errorsEnd >= errors
    }
}
