import Bytes
import CLMDB
import Glibc

/// The pages of an LMDB file, checked one by one before LMDB follows them: it trusts what a page says, so a damaged one makes it
/// read outside the map, or stop the process.
///
/// Page, little-endian (lmdb 0.9, 64 bit): u64 number, u16 pad, u16 flags (1 branch, 2 leaf, 4 overflow), u16 lower, u16 upper
/// (of overflow: u32 pages), then u16 offset of each node, ending at lower. Node: u16 low and u16 high half of the size,
/// u16 flags, u16 key length, key, value. In a branch these 48 bits are a child's page; in a leaf, flag 1 puts the value in
/// overflow pages and their number in its place, flag 2 says that it is a table of its own, as the header describes one.
struct StorePages {
    private static let headBytes = 16
    private static let tableBytes = 48
    private static let noPage = UInt64.max
    private static let maximumDepth = 32

    private let descriptor: Int32
    private let path: String
    private let header: StoreHeader
    private var budget: UInt64

    /// Checks every page that the newest state of the file leads to. Only its own reader keeps that state as it is.
    static func check(_ environment: OpaquePointer, path: String) throws(StoreError) {
        var descriptor: Int32 = -1
        try KeyValueStore.check(mdb_env_get_fd(environment, &descriptor), "read", path)
        // Two more commits of another process overwrite the header of a state: then it is begun again.
        for _ in 0..<100 {
            var transaction: OpaquePointer?
            var code = mdb_txn_begin(environment, nil, UInt32(MDB_RDONLY), &transaction)
            if code == MDB_MAP_RESIZED {
                try KeyValueStore.check(mdb_env_set_mapsize(environment, 0), "map", path)
                code = mdb_txn_begin(environment, nil, UInt32(MDB_RDONLY), &transaction)
            }
            try KeyValueStore.check(code, "read", path)
            defer { mdb_txn_abort(transaction) }
            let wanted = UInt64(mdb_txn_id(transaction))
            guard let header = StoreHeader.all(of: descriptor).first(where: { $0.transaction == wanted }) else { continue }
            var pages = StorePages(descriptor: descriptor, path: path, header: header)
            return try pages.checkAll()
        }
        throw .damaged(path: path, reason: "its header is not that of its newest state")
    }

    private init(descriptor: Int32, path: String, header: StoreHeader) {
        self.descriptor = descriptor
        self.path = path
        self.header = header
        budget = header.lastPage + 1
    }

    private mutating func checkAll() throws(StoreError) {
        try walk(header.freeRoot, depth: header.freeDepth, isFreeList: true)
        try walk(header.mainRoot, depth: header.mainDepth, isFreeList: false)
    }

    private func damaged(_ page: UInt64) -> StoreError { .damaged(path: path, reason: "page \(page) is not what it should be") }

    private func bytes(of page: UInt64, count: Int) throws(StoreError) -> [UInt8] {
        guard page > 1, page <= header.lastPage else { throw damaged(page) }
        var bytes = [UInt8](repeating: 0, count: count)
        let read = bytes.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, count, off_t(page * header.pageBytes)) }
        guard read == count else { throw damaged(page) }
        return bytes
    }

    /// A table's tree: `depth` levels, the last one leaves.
    private mutating func walk(_ page: UInt64, depth: Int, isFreeList: Bool) throws(StoreError) {
        guard page != Self.noPage else { return }
        // No tree has more pages than the file: so a ring of pages ends.
        guard budget > 0, (1...Self.maximumDepth).contains(depth) else { throw damaged(page) }
        budget -= 1
        let size = Int(header.pageBytes)
        let bytes = try bytes(of: page, count: size)
        let (flags, lower, upper) = (Int(bytes.u16(10)), Int(bytes.u16(12)), Int(bytes.u16(14)))
        guard bytes.u64(0) == page, flags & 0x0f == (depth == 1 ? 2 : 1), flags & 0x60 == 0, lower >= Self.headBytes,
            lower % 2 == 0, lower <= upper, upper <= size, lower > Self.headBytes
        else { throw damaged(page) }
        for slot in stride(from: Self.headBytes, to: lower, by: 2) {
            let node = Int(bytes.u16(slot))
            guard node >= upper, node % 2 == 0, node + 8 <= size else { throw damaged(page) }
            let (length, flags, keyBytes) = (Int(bytes.u32(node)), bytes.u16(node + 4), Int(bytes.u16(node + 6)))
            let value = node + 8 + keyBytes
            guard value <= size, keyBytes <= 511 else { throw damaged(page) }
            if depth > 1 {
                try walk(UInt64(length) | UInt64(flags) << 32, depth: depth - 1, isFreeList: isFreeList)
                continue
            }
            guard flags & ~3 == 0, flags & 1 == 1 ? value + 8 <= size : value + length <= size else { throw damaged(page) }
            if flags & 1 == 1 {
                try checkOverflow(bytes.u64(value), length: length, isFreeList: isFreeList)
            } else if isFreeList {
                try checkFreeList(Array(bytes[value..<value + length]), of: page)
            }
            if flags & 2 == 2 {
                guard length == Self.tableBytes, !isFreeList, flags & 1 == 0, bytes.u16(value + 4) == 0 else {
                    throw damaged(page)
                }
                try walk(bytes.u64(value + 40), depth: Int(bytes.u16(value + 6)), isFreeList: false)
            }
        }
    }

    private mutating func checkOverflow(_ page: UInt64, length: Int, isFreeList: Bool) throws(StoreError) {
        let head = try bytes(of: page, count: Self.headBytes)
        let count = UInt64(head.u32(12))
        guard head.u64(0) == page, head.u16(10) & 0x0f == 4, count > 0, count <= budget,
            page + count - 1 <= header.lastPage, UInt64(Self.headBytes + length) <= count * header.pageBytes
        else { throw damaged(page) }
        budget -= count
        guard isFreeList else { return }
        try checkFreeList(Array(try bytes(of: page, count: Self.headBytes + length)[Self.headBytes...]), of: page)
    }

    /// Pages that may be used again: their count, then their numbers, descending.
    private func checkFreeList(_ bytes: [UInt8], of page: UInt64) throws(StoreError) {
        guard bytes.count >= 8, bytes.u64(0) <= UInt64(bytes.count / 8 - 1) else { throw damaged(page) }
        var before = header.lastPage + 1
        for index in 0..<Int(bytes.u64(0)) {
            let free = bytes.u64(8 + index * 8)
            guard free > 1, free < before else { throw damaged(page) }
            before = free
        }
    }
}

extension [UInt8] {
    fileprivate func u16(_ place: Int) -> UInt16 { number(place) }
    fileprivate func u32(_ place: Int) -> UInt32 { number(place) }
    fileprivate func u64(_ place: Int) -> UInt64 { number(place) }

    private func number<T: FixedWidthInteger>(_ place: Int) -> T {
        withUnsafeBytes { T(littleEndian: $0.loadUnaligned(fromByteOffset: place, as: T.self)) }
    }
}
