import CVectorKernels

/// How vectors stand in an attachment (service specification, section 3): all little-endian.
package enum VectorEncoding: UInt32, Sendable, CaseIterable {
    /// `n · D` binary32.
    case float32 = 0
    /// `n · D` binary16, rounded to nearest even.
    case float16
    /// `n · D` signed bytes, then `n` binary32 scales: scale = max|x| / 127; a zero row has scale 0.
    case int8
    /// `n · D / 8` bytes, a bit set where x > 0, dimension 0 in the most significant bit.
    case binary

    /// Bytes of `rows` vectors of `dimensions`.
    package func byteCount(rows: Int, dimensions: Int) -> Int {
        switch self {
        case .float32: rows * dimensions * 4
        case .float16: rows * dimensions * 2
        case .int8: rows * (dimensions + 4)
        case .binary: rows * dimensions / 8
        }
    }

    /// Appends `rows` in this encoding.
    /// - Parameter rows: unit vectors or zero rows, `count × dimensions`, row-major.
    /// - Parameter leading: dimensions to keep, 1 to `dimensions`; fewer than all are normalised again.
    package func append(
        _ rows: UnsafeBufferPointer<Float>, dimensions: Int, leading: Int, to out: inout [UInt8]
    ) {
        precondition(leading > 0 && leading <= dimensions && rows.count % dimensions == 0)
        guard let base = rows.baseAddress else { return }
        if leading == dimensions { return append(rows, dimensions: leading, to: &out) }
        var cut = [Float](repeating: 0, count: rows.count / dimensions * leading)
        for row in 0..<rows.count / dimensions {
            cut.withUnsafeMutableBufferPointer {
                guard let target = $0.baseAddress else { return }
                // A row of zeros, which stands for an error, stays one.
                _ = normalize(base + row * dimensions, count: leading, into: target + row * leading)
            }
        }
        cut.withUnsafeBufferPointer { append($0, dimensions: leading, to: &out) }
    }

    private func append(_ rows: UnsafeBufferPointer<Float>, dimensions: Int, to out: inout [UInt8]) {
        switch self {
        case .float32: out.append(contentsOf: UnsafeRawBufferPointer(rows))
        case .float16:
            for value in rows { append(Float16(value).bitPattern, to: &out) }
        case .int8:
            let quantized = QuantizedRows(quantizing: Array(rows), dimensions: dimensions)
            out.append(contentsOf: quantized.elements.lazy.map { UInt8(bitPattern: $0) })
            for scale in quantized.scales { append(scale.bitPattern, to: &out) }
        case .binary:
            for start in stride(from: 0, to: rows.count, by: 8) {
                out.append((0..<8).reduce(0) { $0 << 1 | (rows[start + $1] > 0 ? 1 : 0) })
            }
        }
    }

    private func append(_ value: some FixedWidthInteger, to out: inout [UInt8]) {
        withUnsafeBytes(of: value.littleEndian) { out.append(contentsOf: $0) }
    }
}
