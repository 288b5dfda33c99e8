import Bytes
import Corpora
import Glibc

private let path = scratchPath("input")

/// Inputs of corpus jobs: lines, or JSON objects a line.
///
/// The first byte chooses the format and the rows of a chunk, the second how long a text may be. Whatever stands there, every line
/// is one row, and who begins behind any chunk gets the same chunks as who began at the start.
package func fuzzLines(_ bytes: UnsafeRawBufferPointer) {
    guard bytes.count > 2 else { return }
    let input = Array(bytes.dropFirst(2))
    var plan = CorpusPlan(dimensions: 8)
    plan.input = bytes[0] % 2 == 0 ? .lines : .jsonl
    plan.chunkRows = 1 + Int(bytes[0] >> 1) % 8
    plan.maximumTextBytes = 1 + Int(bytes[1])
    write(input, to: path)
    let chunks = read(input.count, plan, after: nil)
    unlink(path)
    let lines = lines(of: input)
    precondition(chunks.reduce(0) { $0 + $1.rowCount } == lines.count, "other rows than lines")
    precondition(chunks.last?.inputEnd ?? 0 == input.count, "the input is not read to its end")
    for chunk in chunks { check(chunk, lines, plan) }
}

/// All chunks behind `last`; each time the rest is read anew as well.
private func read(_ size: Int, _ plan: CorpusPlan, after last: JournalRecord?) -> [CorpusChunk] {
    do throws(FileError) {
        var reader = CorpusReader(try FileDescriptor(path, flags: O_RDONLY), size: size, plan: plan, after: last)
        var chunks: [CorpusChunk] = []
        while let chunk = try reader.next() { chunks.append(chunk) }
        if last == nil {
            for (index, chunk) in chunks.enumerated() {
                let record = JournalRecord(
                    chunk: chunk.index, firstRow: chunk.firstRow, rowCount: chunk.rowCount, failedCount: 0, inputEnd: chunk.inputEnd,
                    rowsEnd: 0, errorsEnd: 0, rowsCRC: 0, errorsCRC: 0)
                let rest = read(size, plan, after: record)
                precondition(rest.elementsEqual(chunks[(index + 1)...], by: isSame), "other chunks after a stop")
            }
        }
        return chunks
    } catch { preconditionFailure("the input cannot be read: \(error)") }
}

private func isSame(_ left: CorpusChunk, _ right: CorpusChunk) -> Bool {
    left.index == right.index && left.firstRow == right.firstRow && left.texts == right.texts && left.lengths == right.lengths
        && left.ids == right.ids && left.failures == right.failures && left.inputEnd == right.inputEnd
}

private func lines(of input: [UInt8]) -> [ArraySlice<UInt8>] {
    var lines = input.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    // Nothing after the last end of a line is no line.
    if lines.last?.isEmpty == true { lines.removeLast() }
    return lines
}

private func check(_ chunk: CorpusChunk, _ lines: [ArraySlice<UInt8>], _ plan: CorpusPlan) {
    precondition(1...plan.chunkRows ~= chunk.rowCount, "a chunk of another size")
    precondition(chunk.lengths.reduce(0, +) == chunk.texts.count, "lengths of other texts")
    precondition(chunk.failures.keys.allSatisfy { 0..<chunk.rowCount ~= $0 }, "a failure of no row")
    var start = 0
    for (row, length) in chunk.lengths.enumerated() {
        let text = chunk.texts[start..<start + Int(length)]
        start += Int(length)
        if plan.input == .jsonl {
            if let failure = chunk.failures[row] {
                precondition(text.isEmpty, "a row without a text has one")
                checkWords(failure.message)
            }
            continue
        }
        var line = lines[chunk.firstRow + row]
        // A text that is cut anyway keeps a few bytes more, and its \r.
        let kept = plan.maximumTextBytes + 4
        if line.count > kept { line = line.prefix(kept) } else if line.last == UInt8(ascii: "\r") { line.removeLast() }
        precondition(text == line, "another text than the line")
    }
    precondition(plan.input == .lines || chunk.ids.count == chunk.rowCount, "an id too many or too few")
}
