package import Bytes
import Glibc

/// The rows, errors and journal of a corpus that is under way: commits chunks, each wholly or not at all, whatever ends the process.
///
/// After an error nothing more is to be done with the object: a new one with `keeping` goes on from the last good chunk. A failed
/// fsync is never repeated, because the kernel may have dropped what it did not write.
package final class CorpusOutput {
    /// What was taken back when the files were opened.
    package struct Recovery: Sendable, Equatable {
        package var records = 0
        package var journalBytes = 0
        package var rowBytes = 0
        package var errorBytes = 0
        package var isEmpty: Bool { self == Recovery() }
    }

    private let plan: CorpusPlan
    private let rows: FileDescriptor
    private let errors: FileDescriptor
    private let scales: FileDescriptor?
    private let journal: FileDescriptor
    /// The last chunk that is committed; nil before the first.
    package private(set) var last: JournalRecord?
    /// Rows in error of all committed chunks.
    package private(set) var failedCount = 0
    package private(set) var recovery = Recovery()

    package var chunkCount: Int { last.map { $0.chunk + 1 } ?? 0 }
    package var rowCount: Int { last.map { $0.firstRow + $0.rowCount } ?? 0 }

    /// Opens the files, or makes them. The journal is read up to its first record that is short, wrong or out of order, and every
    /// chunk's bytes are compared with its sums: from the first difference on everything is cut off.
    ///
    /// - Parameters:
    ///   - keeping: the chunks that are known to be on the disk: they are not checked again, and further ones are cut off.
    ///   - mode: permissions of files that are made.
    ///   - isStopped: asked before each chunk is compared: then nothing is cut off, and the error is `ECANCELED`.
    package init(
        _ plan: CorpusPlan, at paths: CorpusPaths, keeping: Int? = nil, mode: UInt32 = 0o666, isStopped: () -> Bool = { false }
    ) throws(FileError) {
        self.plan = plan
        let flags = O_RDWR | O_CREAT
        rows = try FileDescriptor(paths.rows.partial, flags: flags, mode: mode)
        errors = try FileDescriptor(paths.errors.partial, flags: flags, mode: mode)
        scales = plan.hasScales ? try FileDescriptor(paths.scales.partial, flags: flags, mode: mode) : nil
        journal = try FileDescriptor(paths.journal, flags: flags, mode: mode)
        try recover(keeping, isStopped)
        try FileDescriptor(paths.folder, flags: O_RDONLY | O_DIRECTORY).synchronize()
    }

    /// Writes a chunk: rows and errors, then, once these are on the disk, the record that makes them count.
    package func commit(_ chunk: CorpusChunk, _ computed: CorpusRows) throws(FileError) {
        precondition(chunk.index == chunkCount, "chunks are committed in order")
        let (rowsStart, errorsStart) = (last?.rowsEnd ?? plan.headerBytes, last?.errorsEnd ?? 0)
        try rows.write(computed.rows, at: rowsStart)
        try scales?.write(computed.scales, at: scalesEnd(last))
        if !computed.errors.isEmpty { try errors.write(computed.errors, at: errorsStart) }
        try rows.synchronizeData()
        try scales?.synchronizeData()
        if !computed.errors.isEmpty { try errors.synchronizeData() }
        let rowsCRC = computed.rows.withUnsafeBytes { crc32c($0) }
        let record = JournalRecord(
            chunk: chunk.index, firstRow: chunk.firstRow, rowCount: chunk.rowCount, failedCount: computed.failedCount,
            inputEnd: chunk.inputEnd, rowsEnd: rowsStart + computed.rows.count, errorsEnd: errorsStart + computed.errors.count,
            rowsCRC: computed.scales.withUnsafeBytes { crc32c($0, seed: rowsCRC) },
            errorsCRC: computed.errors.withUnsafeBytes { crc32c($0) })
        try journal.write(record.bytes, at: chunk.index * JournalRecord.byteCount)
        try journal.synchronizeData()
        last = record
        failedCount += computed.failedCount
    }

    private func scalesEnd(_ record: JournalRecord?) -> Int {
        plan.headerBytes + 4 * (record.map { $0.firstRow + $0.rowCount } ?? 0)
    }

    /// What a journal says is committed, without a look at the rows: the last chunk, nil before the first, and the rows in error of all.
    package static func committed(
        _ plan: CorpusPlan, at paths: CorpusPaths
    ) throws(FileError) -> (last: JournalRecord?, failedCount: Int) {
        guard access(paths.journal, F_OK) == 0 else { return (nil, 0) }
        let journal = try FileDescriptor(paths.journal, flags: O_RDONLY)
        var (last, failedCount): (JournalRecord?, Int) = (nil, 0)
        try forEachRecord(of: try journal.bytes(at: 0, count: try journal.size), plan) { record throws(FileError) in
            (last, failedCount) = (record, failedCount + record.failedCount)
            return true
        }
        return (last, failedCount)
    }

    /// The records of a journal up to the first that is short, wrong or out of order, or that `take` does not want.
    private static func forEachRecord(
        of journal: [UInt8], _ plan: CorpusPlan, _ take: (JournalRecord) throws(FileError) -> Bool
    ) throws(FileError) {
        var last: JournalRecord?
        for start in stride(from: 0, through: journal.count - JournalRecord.byteCount, by: JournalRecord.byteCount) {
            guard let record = JournalRecord(journal[start..<start + JournalRecord.byteCount]), record.follows(last, plan),
                try take(record)
            else { return }
            last = record
        }
    }

    private func recover(_ keeping: Int?, _ isStopped: () -> Bool) throws(FileError) {
        let size = try journal.size
        let most = min(keeping ?? .max, size / JournalRecord.byteCount)
        let written = try journal.bytes(at: 0, count: most * JournalRecord.byteCount)
        try Self.forEachRecord(of: written, plan) { record throws(FileError) in
            if keeping == nil {
                if isStopped() { throw .system(operation: "read", path: rows.path, errno: ECANCELED) }
                guard try isIntact(record) else { return false }
            }
            last = record
            failedCount += record.failedCount
            return true
        }
        recovery.journalBytes = size - chunkCount * JournalRecord.byteCount
        recovery.records = size / JournalRecord.byteCount - chunkCount
        recovery.rowBytes = max(0, try rows.size - (last?.rowsEnd ?? plan.headerBytes))
        recovery.errorBytes = max(0, try errors.size - (last?.errorsEnd ?? 0))
        try journal.truncate(to: chunkCount * JournalRecord.byteCount)
        try rows.truncate(to: last?.rowsEnd ?? plan.headerBytes)
        try errors.truncate(to: last?.errorsEnd ?? 0)
        try scales?.truncate(to: scalesEnd(last))
    }

    /// Whether the bytes of the chunk behind `last` are those that were committed.
    private func isIntact(_ record: JournalRecord) throws(FileError) -> Bool {
        guard var sum = try rows.crc(from: last?.rowsEnd ?? plan.headerBytes, to: record.rowsEnd, seed: 0),
            let errorsSum = try errors.crc(from: last?.errorsEnd ?? 0, to: record.errorsEnd, seed: 0)
        else { return false }
        if plan.hasScales {
            guard let both = try scales?.crc(from: scalesEnd(last), to: scalesEnd(record), seed: sum) else { return false }
            sum = both
        }
        return sum == record.rowsCRC && errorsSum == record.errorsCRC
    }
}

extension FileDescriptor {
    /// CRC-32C of a part of the file; nil where the file ends before.
    fileprivate func crc(from start: Int, to end: Int, seed: UInt32) throws(FileError) -> UInt32? {
        var (sum, offset) = (seed, start)
        while offset < end {
            let part = try bytes(at: offset, count: min(1 << 20, end - offset))
            guard !part.isEmpty else { return nil }
            sum = part.withUnsafeBytes { crc32c($0, seed: sum) }
            offset += part.count
        }
        return sum
    }
}
