import Bytes
import CLMDB
import Glibc

/// A named table of a store.
package struct Table: Sendable {
    let handle: MDB_dbi
}

/// A view of the store as it was when it began; it ends when it goes.
package struct ReadTransaction: ~Copyable {
    let pointer: OpaquePointer
    /// The folder of the store.
    package let path: String
    private var isOver = false

    init(_ pointer: OpaquePointer, path: String) {
        self.pointer = pointer
        self.path = path
    }

    deinit { if !isOver { mdb_txn_abort(pointer) } }

    consuming func commit() throws(StoreError) {
        isOver = true
        let code = mdb_txn_commit(pointer)
        // LMDB says "I/O error" of a write that was cut short, which is what a disk does that becomes full.
        try check(code == EIO && isDiskFull(path) ? ENOSPC : code, "write", path)
    }

    /// The value of a key, or nil.
    package func value(of key: [UInt8], in table: Table) throws(StoreError) -> [UInt8]? {
        var value = MDB_val()
        let code = withValue(key) { key in mdb_get(pointer, table.handle, &key, &value) }
        if code == MDB_NOTFOUND { return nil }
        try check(code, "read", path)
        // Safe: the value lies in the map until the transaction ends.
        return Array(UnsafeRawBufferPointer(start: value.mv_data, count: value.mv_size))
    }

    package func count(of table: Table) throws(StoreError) -> Int {
        var statistics = MDB_stat()
        try check(mdb_stat(pointer, table.handle, &statistics), "read", path)
        return statistics.ms_entries
    }

    /// Calls `body` with every entry from `start` on, in the order of the keys' bytes, until it says false. The bytes are valid
    /// within the call only.
    package func forEach(
        in table: Table, from start: [UInt8] = [], _ body: (_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) throws -> Bool
    ) throws {
        var cursor: OpaquePointer?
        try check(mdb_cursor_open(pointer, table.handle, &cursor), "read", path)
        defer { mdb_cursor_close(cursor) }
        var (key, value) = (MDB_val(), MDB_val())
        var code = start.isEmpty
            ? mdb_cursor_get(cursor, &key, &value, MDB_FIRST)
            : start.withUnsafeBytes { bytes in
                key = MDB_val(mv_size: bytes.count, mv_data: UnsafeMutableRawPointer(mutating: bytes.baseAddress))
                return mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE)
            }
        while code == 0 {
            // Safe: both lie in the map until the transaction ends.
            let goesOn = try body(
                UnsafeRawBufferPointer(start: key.mv_data, count: key.mv_size),
                UnsafeRawBufferPointer(start: value.mv_data, count: value.mv_size))
            guard goesOn else { return }
            code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)
        }
        if code != MDB_NOTFOUND { try check(code, "read", path) }
    }

    /// The greatest key, or nil for an empty table.
    package func lastKey(in table: Table) throws(StoreError) -> [UInt8]? {
        var cursor: OpaquePointer?
        try check(mdb_cursor_open(pointer, table.handle, &cursor), "read", path)
        defer { mdb_cursor_close(cursor) }
        var (key, value) = (MDB_val(), MDB_val())
        let code = mdb_cursor_get(cursor, &key, &value, MDB_LAST)
        if code == MDB_NOTFOUND { return nil }
        try check(code, "read", path)
        return Array(UnsafeRawBufferPointer(start: key.mv_data, count: key.mv_size))
    }
}

/// Changes to the store: all of them happen, or none.
package struct WriteTransaction: ~Copyable {
    /// The store with the changes so far.
    package let view: ReadTransaction

    init(_ view: consuming ReadTransaction) { self.view = view }

    consuming func commit() throws(StoreError) { try view.commit() }

    /// Writes an entry; a key has 1 to 511 bytes.
    package func put(_ value: [UInt8], for key: [UInt8], in table: Table) throws(StoreError) {
        let code = withValue(key) { key in
            withValue(value) { value in mdb_put(view.pointer, table.handle, &key, &value, 0) }
        }
        try check(code, "write", view.path)
    }

    /// Removes an entry, if it is there.
    package func remove(_ key: [UInt8], in table: Table) throws(StoreError) {
        let code = withValue(key) { key in mdb_del(view.pointer, table.handle, &key, nil) }
        if code != MDB_NOTFOUND { try check(code, "write", view.path) }
    }
}

private func withValue<R>(_ bytes: [UInt8], _ body: (inout MDB_val) -> R) -> R {
    bytes.withUnsafeBytes { bytes in
        // Safe: LMDB does not write to a key or to the value of a put.
        var value = MDB_val(mv_size: bytes.count, mv_data: UnsafeMutableRawPointer(mutating: bytes.baseAddress))
        return body(&value)
    }
}

/// Whether the file system has no room for one more page.
private func isDiskFull(_ path: String) -> Bool {
    var status = statvfs()
    return statvfs(path, &status) == 0 && status.f_bavail * status.f_frsize < 65_536
}

/// Turns a return code of LMDB into an error.
func check(_ code: Int32, _ operation: String, _ path: String) throws(StoreError) {
    guard code != 0 else { return }
    guard code < 0 else { throw .file(.system(operation: operation, path: path, errno: code)) }
    switch code {
    case MDB_MAP_FULL: throw .mapFull(path: path)
    case MDB_READERS_FULL: throw .tooManyReaders(path: path)
    case MDB_INVALID, MDB_VERSION_MISMATCH: throw .foreign(path: path, reason: String(cString: mdb_strerror(code)))
    default: throw .damaged(path: path, reason: String(cString: mdb_strerror(code)))
    }
}
