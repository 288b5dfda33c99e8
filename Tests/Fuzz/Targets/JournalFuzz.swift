import Bytes
import Corpora
import Glibc
import Vectors

/// The files of a corpus job that is under way, damaged.
///
/// The first byte chooses the format (two bits) and whether the records' checksums are right again after the damage. Each four bytes
/// after it are a damage: the file (modulo 4; from 4 to 7 modulo 8 it is cut there), a place in it (two bytes), the byte to put there.
///
/// Opening takes back what is damaged and everything behind it, never makes a file longer, and finds nothing the second time. What
/// is then gone on with gives the files of an undisturbed job, if no checksum was made right.
package func fuzzJournal(_ bytes: UnsafeRawBufferPointer) {
    guard let choice = bytes.first else { return }
    let isForged = choice & 4 != 0
    let corpus = corpora[Int(choice % 4)]
    var files = corpus.files
    for at in stride(from: 1, through: bytes.count - 4, by: 4) {
        let file = Int(bytes[at] % 4)
        guard !files[file].isEmpty else { continue }
        let place = (Int(bytes[at + 1]) | Int(bytes[at + 2]) << 8) % files[file].count
        if bytes[at] & 4 != 0 { files[file].removeSubrange(place...) } else { files[file][place] = bytes[at + 3] }
    }
    if isForged { makeRight(&files[3]) }
    let finished = corpus.recover(files, isForged: isForged)
    if !isForged { precondition(finished == corpus.finished, "other files than an undisturbed job's") }
}

/// The checksum of each record, as it would be for what stands there.
private func makeRight(_ journal: inout [UInt8]) {
    for start in stride(from: 0, through: journal.count - JournalRecord.byteCount, by: JournalRecord.byteCount) {
        let end = start + JournalRecord.byteCount - 4
        let crc = journal[start..<end].withUnsafeBytes { crc32c($0) }
        withUnsafeBytes(of: crc.littleEndian) { journal.replaceSubrange(end..<end + 4, with: $0) }
    }
}

private let corpora = [
    Corpus(.npy, .float32), Corpus(.npy, .int8), Corpus(.jsonl, .float32), Corpus(.npy, .binary),
]

/// A job of 20 rows in chunks of 4, stopped before its last chunk. A row is made of its text's bytes.
private struct Corpus: Sendable {
    private let plan: CorpusPlan
    private let paths: CorpusPaths
    private let input: String
    /// Rows, errors, scales and journal, as the stop left them.
    private(set) var files: [[UInt8]] = []
    /// The finished rows, errors and scales of a job that nothing stopped.
    private(set) var finished: [[UInt8]] = []

    init(_ output: CorpusPlan.Output, _ encoding: VectorEncoding) {
        var plan = CorpusPlan(dimensions: 8)
        (plan.output, plan.encoding, plan.chunkRows) = (output, encoding, 4)
        let folder = scratchPath("journal")
        mkdir(folder, 0o700)
        (self.plan, paths, input) = (plan, CorpusPaths(folder: folder, plan), "\(folder)/input")
        write(Array((0..<20).map { $0 % 7 == 3 ? "\n" : "text \($0)\n" }.joined().utf8), to: input)
        do throws(FileError) {
            for path in partials { unlink(path) }
            try go(try CorpusOutput(plan, at: paths), chunks: 4)
            files = partials.map(contents)
            finished = try finish()
        } catch { preconditionFailure("an undisturbed job fails: \(error)") }
    }

    private var partials: [String] { [paths.rows.partial, paths.errors.partial, paths.scales.partial, paths.journal] }

    /// Opens the files, and goes on to the end; the finished ones, or none where forged records make that impossible.
    func recover(_ files: [[UInt8]], isForged: Bool) -> [[UInt8]] {
        for (path, bytes) in zip(partials, files) { write(bytes, to: path) }
        do throws(FileError) {
            let output = try CorpusOutput(plan, at: paths)
            for (path, bytes) in zip(partials, files) {
                precondition(contents(path).count <= max(bytes.count, plan.headerBytes), "a file has become longer")
            }
            let again = try CorpusOutput(plan, at: paths)
            precondition(again.recovery.isEmpty && again.last == output.last, "there is damage after the recovery")
            return try finish()
        } catch {
            checkWords(error.summary)
            precondition(isForged, "what was damaged cannot be gone on with: \(error.summary)")
            return []
        }
    }

    private func finish() throws(FileError) -> [[UInt8]] {
        let output = try CorpusOutput(plan, at: paths)
        try go(output, chunks: .max)
        _ = try CorpusFinish(plan, at: paths, rowCount: output.rowCount).seal()
        return partials.dropLast().map(contents)
    }

    private func go(_ output: CorpusOutput, chunks: Int) throws(FileError) {
        var reader = CorpusReader(
            try FileDescriptor(input, flags: O_RDONLY), size: contents(input).count, plan: plan, after: output.last)
        var left = chunks
        while left > 0, let chunk = try reader.next() {
            try output.commit(chunk, rows(chunk))
            left -= 1
        }
    }

    private func rows(_ chunk: CorpusChunk) -> CorpusRows {
        var floats: [Float] = []
        var failures: [Int: CorpusRowFailure] = [:]
        var start = 0
        for (row, length) in chunk.lengths.enumerated() {
            let text = chunk.texts[start..<start + Int(length)]
            start += Int(length)
            floats += (0..<8).map { text.isEmpty ? 0 : Float(text[text.startIndex + $0 % text.count]) / 400 }
            if text.isEmpty { failures[row] = CorpusRowFailure(code: "INVALID_ARGUMENT", message: "the text has no piece") }
        }
        var bytes: [UInt8] = []
        floats.withUnsafeBufferPointer { plan.encoding.append($0, dimensions: 8, leading: 8, to: &bytes) }
        return plan.rows(bytes, firstRow: chunk.firstRow, count: chunk.rowCount, failures: failures, ids: [])
    }

    private func contents(_ path: String) -> [UInt8] {
        do throws(FileError) {
            let file = try FileDescriptor(path, flags: O_RDONLY)
            // A file may say that it is longer than any memory.
            return try file.bytes(at: 0, count: min(try file.size, 1 << 16))
        } catch { return [] }
    }
}
