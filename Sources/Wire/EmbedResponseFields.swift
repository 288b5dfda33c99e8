/// EmbedResponse as the daemon fills it, encoded without the generated type. The bytes are those of the generated type.
package struct EmbedResponseFields: Sendable {
    package struct RowError: Sendable, Equatable {
        package var index: UInt32
        package var code: UInt32
        package var message: String
        package var limit: String

        package init(index: UInt32, code: UInt32, message: String, limit: String) {
            self.index = index
            self.code = code
            self.message = message
            self.limit = limit
        }
    }

    package var count: UInt32 = 0
    package var dimensions: UInt32 = 0
    package var encoding: UInt32 = 0
    package var generation: UInt64 = 0
    /// Ascending by index.
    package var errors: [RowError] = []
    package var pieces: [UInt32] = []
    package var truncated: [UInt32] = []
    package var queueMicroseconds: UInt32 = 0
    package var computeMicroseconds: UInt32 = 0

    package init() {}

    /// Appends the message.
    package func encode(to out: inout [UInt8]) {
        appendField(1, count, to: &out)
        appendField(2, dimensions, to: &out)
        appendField(3, encoding, to: &out)
        if generation != 0 {
            out.append(4 << 3 | 1)
            withUnsafeBytes(of: generation.littleEndian) { out.append(contentsOf: $0) }
        }
        for error in errors { append(error, to: &out) }
        appendPacked(6, pieces, to: &out)
        appendPacked(7, truncated, to: &out)
        appendField(8, queueMicroseconds, to: &out)
        appendField(9, computeMicroseconds, to: &out)
    }

    private func append(_ error: RowError, to out: inout [UInt8]) {
        var size = fieldSize(error.index) + fieldSize(error.code)
        for text in [error.message, error.limit] where !text.isEmpty {
            size += 1 + varintSize(UInt64(text.utf8.count)) + text.utf8.count
        }
        out.append(5 << 3 | 2)
        appendVarint(UInt64(size), to: &out)
        appendField(1, error.index, to: &out)
        appendField(2, error.code, to: &out)
        appendText(3, error.message, to: &out)
        appendText(4, error.limit, to: &out)
    }

    private func appendText(_ field: UInt8, _ text: String, to out: inout [UInt8]) {
        guard !text.isEmpty else { return }
        out.append(field << 3 | 2)
        appendVarint(UInt64(text.utf8.count), to: &out)
        out.append(contentsOf: text.utf8)
    }

    private func appendPacked(_ field: UInt8, _ values: [UInt32], to out: inout [UInt8]) {
        guard !values.isEmpty else { return }
        out.append(field << 3 | 2)
        appendVarint(UInt64(values.reduce(0) { $0 + varintSize(UInt64($1)) }), to: &out)
        for value in values { appendVarint(UInt64(value), to: &out) }
    }

    private func appendField(_ field: UInt8, _ value: UInt32, to out: inout [UInt8]) {
        guard value != 0 else { return }
        out.append(field << 3)
        appendVarint(UInt64(value), to: &out)
    }

    private func fieldSize(_ value: UInt32) -> Int { value == 0 ? 0 : 1 + varintSize(UInt64(value)) }

    private func varintSize(_ value: UInt64) -> Int { max(1, (70 - value.leadingZeroBitCount) / 7) }

    private func appendVarint(_ value: UInt64, to out: inout [UInt8]) {
        var value = value
        while value >= 0x80 {
            out.append(UInt8(truncatingIfNeeded: value) | 0x80)
            value >>= 7
        }
        out.append(UInt8(truncatingIfNeeded: value))
    }
}
