package import Bytes

/// The next rows of an input: what is computed and committed at once.
package struct CorpusChunk: Sendable {
    /// From 0, as are rows.
    package var index: Int
    package var firstRow: Int
    /// The texts end to end, and the bytes of each.
    package var texts: [UInt8] = []
    package var lengths: [UInt32] = []
    /// JSONL: the member `id` of each row, UTF-8, where it has one.
    package var ids: [[UInt8]?] = []
    /// Rows, counted in the chunk, whose line is not what it should be. Their texts are empty.
    package var failures: [Int: CorpusRowFailure] = [:]
    /// Where the chunk ends in the input.
    package var inputEnd: Int

    package var rowCount: Int { lengths.count }
}

/// Cuts an input into chunks, which are a function of the input and the plan alone: the next rows up to `chunkRows`, or
/// `CorpusPlan.chunkBytes`, whichever comes first.
///
/// A line ends with `\n`, before which one `\r` is dropped; the last one may lack it; nothing after the last `\n` is no line. An
/// empty line is a row. The file is read, never mapped: one that is cut under us must not end the process.
package struct CorpusReader: ~Copyable {
    private struct Line {
        /// Without its end; of a long line no more than is needed.
        var kept: [UInt8] = []
        /// With its end.
        var byteCount = 0
        var isWhole = true
    }

    private let file: FileDescriptor
    private let plan: CorpusPlan
    /// Of the input; what is written behind it later is not read.
    private let size: Int
    private let maximumKept: Int
    private var buffer: [UInt8] = []
    private var position = 0
    /// Where the buffer ends in the file.
    private var filled: Int
    /// Read, and too much for the chunk before.
    private var held: Line?
    private var nextIndex: Int
    private var nextRow: Int
    private var inputEnd: Int

    /// Begins behind the chunks that `last` is the last of, or at the start.
    package init(_ file: consuming FileDescriptor, size: Int, plan: CorpusPlan, after last: JournalRecord?) {
        self.file = file
        self.plan = plan
        self.size = size
        // A text is cut at a character's border, which up to 3 more bytes tell.
        maximumKept = plan.input == .lines ? plan.maximumTextBytes + 4 : CorpusPlan.chunkBytes
        nextIndex = last.map { $0.chunk + 1 } ?? 0
        nextRow = last.map { $0.firstRow + $0.rowCount } ?? 0
        inputEnd = last?.inputEnd ?? 0
        filled = inputEnd
    }

    /// The next chunk, nil at the end. Errors: the disk; an input that is shorter than it was.
    package mutating func next() throws(FileError) -> CorpusChunk? {
        var chunk = CorpusChunk(index: nextIndex, firstRow: nextRow, inputEnd: inputEnd)
        let start = inputEnd
        while chunk.rowCount < plan.chunkRows {
            guard let line = try nextLine() else { break }
            if chunk.rowCount > 0, inputEnd - start + line.byteCount > CorpusPlan.chunkBytes {
                held = line
                break
            }
            append(line, to: &chunk)
            inputEnd += line.byteCount
        }
        guard chunk.rowCount > 0 else { return nil }
        chunk.inputEnd = inputEnd
        nextIndex += 1
        nextRow += chunk.rowCount
        return chunk
    }

    private func append(_ line: Line, to chunk: inout CorpusChunk) {
        switch plan.input {
        case .lines:
            chunk.texts += line.kept
            chunk.lengths.append(UInt32(line.kept.count))
        case .jsonl:
            let before = chunk.texts.count
            var id: [UInt8]?
            let reason = line.isWhole ? object(line.kept, &chunk.texts, &id) : "the line is over \(CorpusPlan.chunkBytes) bytes"
            if let reason {
                chunk.texts.removeLast(chunk.texts.count - before)
                chunk.failures[chunk.rowCount] = CorpusRowFailure(code: "INVALID_ARGUMENT", message: reason)
            }
            chunk.lengths.append(UInt32(chunk.texts.count - before))
            chunk.ids.append(id)
        }
    }

    /// Appends the text of a JSON object; the reason when there is none.
    private func object(_ line: [UInt8], _ text: inout [UInt8], _ id: inout [UInt8]?) -> String? {
        do throws(JSONError) {
            var reader = try JSONReader(line)
            guard try reader.kind() == .object else { return "the line is not a JSON object" }
            try reader.enterObject()
            var found = false
            let before = text.count
            while let key = try reader.nextMember() {
                if key == plan.textField {
                    guard try reader.kind() == .string else { return "the member with the text is not a string" }
                    // Of two members with one name the last counts.
                    text.removeLast(text.count - before)
                    try reader.string(into: &text)
                    found = true
                } else if key == "id", try reader.kind() == .string {
                    var value: [UInt8] = []
                    try reader.string(into: &value)
                    id = value
                } else {
                    try reader.skip()
                }
            }
            try reader.finish()
            return found ? nil : "the object has no member with the text"
        } catch {
            return "the line is not a JSON object: \(error.description)"
        }
    }

    private mutating func nextLine() throws(FileError) -> Line? {
        if let line = held {
            held = nil
            return line
        }
        var line = Line()
        while true {
            if position == buffer.count {
                try fill()
                guard !buffer.isEmpty else {
                    if line.byteCount == 0 { return nil }
                    break
                }
            }
            let end = buffer[position...].firstIndex(of: UInt8(ascii: "\n"))
            let part = buffer[position..<(end ?? buffer.count)]
            let room = maximumKept - line.kept.count
            line.kept += part.prefix(max(room, 0))
            if part.count > room { line.isWhole = false }
            line.byteCount += part.count
            position = buffer.count
            if let end {
                line.byteCount += 1
                position = end + 1
                break
            }
        }
        if line.isWhole, line.kept.last == UInt8(ascii: "\r") { line.kept.removeLast() }
        return line
    }

    private mutating func fill() throws(FileError) {
        buffer = try file.bytes(at: filled, count: max(0, min(1 << 20, size - filled)))
        position = 0
        guard !buffer.isEmpty || filled == size else {
            throw .format(path: file.path, reason: "the input is shorter than it was")
        }
        filled += buffer.count
    }
}
