import Bytes
import Glibc

/// What the two meta pages at the start of an LMDB data file say. LMDB maps a file without asking whether it is as long
/// as they state: reading behind its end is a SIGBUS. So this is looked at before the file is opened.
///
/// Each page, little-endian (lmdb 0.9, 64 bit): u64 number, u16 pad, u16 flags, 4 bytes; u32 magic, u32 version, u64 address,
/// u64 size of the map, then for the free list and for the main table 48 bytes each (u32 page size of the first, u16 flags,
/// u16 depth, u64 branch, leaf and overflow pages, u64 entries, u64 root), u64 last page, u64 transaction.
struct StoreHeader {
    private static let magic: UInt32 = 0xbeef_c0de
    private static let version: UInt32 = 1
    private static let metaFlag: UInt16 = 0x08
    private static let noPage = UInt64.max
    private static let bytes = 152

    let pageBytes: UInt64
    let lastPage: UInt64
    let transaction: UInt64
    /// Of the list of free pages, and of the main table: the first page, and the levels below it.
    let freeRoot: UInt64
    let freeDepth: Int
    let mainRoot: UInt64
    let mainDepth: Int

    /// Checks the file at `path`, if there is one with anything in it.
    static func check(_ path: String) throws(StoreError) {
        var start = [UInt8](repeating: 0, count: 1 << 17)
        let size: UInt64
        do throws(FileError) {
            let file = try FileDescriptor(path, flags: O_RDONLY)
            // The header is read before the size: a file that another process writes to only grows.
            start.removeLast(start.count - (try start.readFully(file)))
            size = UInt64(try file.size)
        } catch {
            if case .system(_, _, ENOENT) = error { return }
            throw .file(error)
        }
        guard size > 0 else { return }
        if let problem = start.withUnsafeBytes({ problem($0, path: path, size: size) }) { throw problem }
    }

    /// What is wrong with a file of `size` bytes that begins with `start`, or nil.
    private static func problem(_ start: UnsafeRawBufferPointer, path: String, size: UInt64) -> StoreError? {
        guard start.count >= bytes else { return .truncated(path: path, expected: 2 * 4_096, actual: size) }
        guard let first = header(0, in: start, at: 0) else {
            return .damaged(path: path, reason: "its first page is not that of a store")
        }
        guard let second = header(1, in: start, at: Int(first.pageBytes)) else {
            return size < 2 * first.pageBytes
                ? .truncated(path: path, expected: 2 * first.pageBytes, actual: size)
                : .damaged(path: path, reason: "its second page is not that of a store")
        }
        guard first.pageBytes == second.pageBytes else {
            return .damaged(path: path, reason: "its first pages differ in the size of a page")
        }
        let newest = first.transaction > second.transaction ? first : second
        let (needed, overflow) = (newest.lastPage &+ 1).multipliedReportingOverflow(by: newest.pageBytes)
        guard !overflow, newest.lastPage < noPage else {
            return .damaged(path: path, reason: "it states \(newest.lastPage) pages")
        }
        return size < needed ? .truncated(path: path, expected: needed, actual: size) : nil
    }

    /// Those of an open file, both.
    static func all(of descriptor: Int32) -> [StoreHeader] {
        var start = [UInt8](repeating: 0, count: 1 << 17)
        let count = start.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, $0.count, 0) }
        return start.prefix(max(0, count)).withUnsafeBytes { start in
            guard let first = header(0, in: start, at: 0) else { return [] }
            return [first] + (header(1, in: start, at: Int(first.pageBytes)).map { [$0] } ?? [])
        }
    }

    private static func header(_ number: UInt64, in start: UnsafeRawBufferPointer, at offset: Int) -> StoreHeader? {
        guard offset + bytes <= start.count else { return nil }
        func read<T: FixedWidthInteger>(_ place: Int, _: T.Type = T.self) -> T {
            T(littleEndian: start.loadUnaligned(fromByteOffset: offset + place, as: T.self))
        }
        let pageBytes: UInt32 = read(40)
        let lastPage: UInt64 = read(136)
        let (freeRoot, mainRoot): (UInt64, UInt64) = (read(80), read(128))
        let (freeDepth, mainDepth): (UInt16, UInt16) = (read(46), read(94))
        guard read(0) == number, read(10) & metaFlag != 0, read(16) == magic, read(20) == version,
            (512...65_536).contains(pageBytes), pageBytes.nonzeroBitCount == 1,
            [freeRoot, mainRoot].allSatisfy({ $0 == noPage || $0 <= lastPage })
        else { return nil }
        return StoreHeader(
            pageBytes: UInt64(pageBytes), lastPage: lastPage, transaction: read(144), freeRoot: freeRoot,
            freeDepth: Int(freeDepth), mainRoot: mainRoot, mainDepth: Int(mainDepth))
    }
}

extension [UInt8] {
    /// Reads until the array is full or the file ends; the count.
    fileprivate mutating func readFully(_ file: borrowing FileDescriptor) throws(FileError) -> Int {
        var filled = 0
        while filled < count {
            var failure: FileError?
            let part = withUnsafeMutableBytes { buffer in
                do throws(FileError) {
                    return try file.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[filled...]))
                } catch {
                    failure = error
                    return 0
                }
            }
            if let failure { throw failure }
            if part == 0 { break }
            filled += part
        }
        return filled
    }
}
