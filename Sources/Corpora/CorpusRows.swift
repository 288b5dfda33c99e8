import Bytes

/// Computed rows as they stand in the files: some consecutive rows of a chunk, or all.
package struct CorpusRows: Sendable {
    package var rows: [UInt8] = []
    /// A binary32 a row, where the encoding is int8.
    package var scales: [UInt8] = []
    /// A JSON object a line.
    package var errors: [UInt8] = []
    package var failedCount = 0
    /// The first row in error, counted from the start of the input.
    package var firstFailure: (row: Int, reason: CorpusRowFailure)?

    package init() {}

    package mutating func append(_ more: CorpusRows) {
        rows += more.rows
        scales += more.scales
        errors += more.errors
        failedCount += more.failedCount
        firstFailure = firstFailure ?? more.firstFailure
    }
}

extension CorpusPlan {
    /// The files' bytes of rows whose vectors are given.
    ///
    /// - Parameters:
    ///   - vectors: the rows in the plan's encoding, as an attachment has them (of int8 the bytes, then the scales); rows in error
    ///     are zero.
    ///   - failures: by row, counted from `firstRow`.
    ///   - ids: one a row for JSONL; empty for lines.
    package func rows(
        _ vectors: [UInt8], firstRow: Int, count: Int, failures: [Int: CorpusRowFailure], ids: ArraySlice<[UInt8]?>
    ) -> CorpusRows {
        var result = CorpusRows()
        result.failedCount = failures.count
        result.firstFailure = failures.min { $0.key < $1.key }.map { (firstRow + $0.key, $0.value) }
        for (row, failure) in failures.sorted(by: { $0.key < $1.key }) {
            result.errors += line(ofFailedRow: firstRow + row, failure, id(of: row, ids))
        }
        switch output {
        case .npy:
            result.rows = vectors
            if hasScales {
                result.scales = Array(vectors[(count * rowBytes)...])
                result.rows.removeLast(result.scales.count)
            }
            // A line that was no text may still stand for some vector.
            for row in failures.keys {
                result.rows.replaceSubrange(row * rowBytes..<(row + 1) * rowBytes, with: repeatElement(0, count: rowBytes))
                if hasScales { result.scales.replaceSubrange(row * 4..<row * 4 + 4, with: repeatElement(0, count: 4)) }
            }
        case .jsonl:
            for row in 0..<count {
                if let failure = failures[row] {
                    result.rows += line(ofFailedRow: firstRow + row, failure, id(of: row, ids))
                } else {
                    result.rows += line(ofRow: firstRow + row, vectors[row * rowBytes..<(row + 1) * rowBytes], id(of: row, ids))
                }
            }
        }
        return result
    }

    private func id(of row: Int, _ ids: ArraySlice<[UInt8]?>) -> [UInt8]? {
        ids.isEmpty ? nil : ids[ids.startIndex + row]
    }

    private func line(ofRow row: Int, _ vector: ArraySlice<UInt8>, _ id: [UInt8]?) -> [UInt8] {
        var line = Array("{\"row\":\(row),".utf8)
        if let id { line += Array("\"id\":\(JSONWriter.quoted(String(decoding: id, as: UTF8.self))),".utf8) }
        line += Array("\"embedding\":[".utf8)
        vector.withUnsafeBytes { bytes in
            for start in stride(from: 0, to: bytes.count, by: 4) {
                if start > 0 { line.append(UInt8(ascii: ",")) }
                let bits = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: start, as: UInt32.self))
                line += Float(bitPattern: bits).description.utf8
            }
        }
        return line + Array("]}\n".utf8)
    }

    private func line(ofFailedRow row: Int, _ failure: CorpusRowFailure, _ id: [UInt8]?) -> [UInt8] {
        var writer = JSONWriter()
        writer.object { line in
            line.value("row", row)
            if let id { line.value("id", String(decoding: id, as: UTF8.self)) }
            line.object("error") { error in
                error.value("code", failure.code)
                error.value("message", failure.message)
            }
        }
        return Array(writer.text.utf8) + [UInt8(ascii: "\n")]
    }
}
