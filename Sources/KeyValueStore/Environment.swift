import Bytes
import CLMDB
import Glibc

/// An LMDB store in a folder (`data.mdb`, `lock.mdb`), for one thread at a time. Other processes may read it meanwhile, and
/// one at a time writes.
///
/// What is committed stays, whatever happens to the process. The file is as long as the map that was written with, in holes
/// where nothing is yet: so a file that was cut off is told from one that is not, before LMDB maps it (`StoreHeader`).
/// The map grows when a transaction does not fit.
///
/// A process must not have two of them for one folder at a time (lmdb.h, caveats).
package struct Environment: ~Copyable {
    package enum Access: Sendable { case reading, writing }

    /// Sizes that a store may have, in bytes.
    package static let initialMapBytes = 16 << 20
    package static let maximumMapBytes = 1 << 40

    /// The folder.
    package let path: String
    private let pointer: OpaquePointer
    private let tables: [String: Table]

    /// Opens the store in a folder; to write, makes it if it is not there. The tables exist afterwards.
    /// - Parameter mapBytes: of the map at the start, for a new or smaller store.
    /// Cost: one pass over the file's pages, but for those of large values.
    /// - Throws: `missing`, `foreign` when a table is not there, `truncated`, `damaged`, `file`.
    package init(
        _ folder: String, tables names: [String], access: Access, mapBytes: Int = Environment.initialMapBytes
    ) throws(StoreError) {
        let pointer = try Self.open(folder, tableCount: names.count, access, mapBytes)
        do throws(StoreError) {
            tables = try Self.openTables(names, of: pointer, path: folder, access)
        } catch {
            mdb_env_close(pointer)
            throw error
        }
        self.pointer = pointer
        path = folder
    }

    private static func open(
        _ folder: String, tableCount: Int, _ access: Access, _ mapBytes: Int
    ) throws(StoreError) -> OpaquePointer {
        let file = folder + "/data.mdb"
        var status = stat()
        if access == .writing {
            guard mkdir(folder, 0o777) == 0 || errno == EEXIST else {
                throw .file(.system(operation: "make the folder", path: folder, errno: errno))
            }
        } else if stat(file, &status) != 0 {
            guard errno == ENOENT || errno == ENOTDIR else {
                throw .file(.system(operation: "open", path: file, errno: errno))
            }
            throw .missing(path: folder)
        } else if status.st_size == 0 {
            throw .missing(path: folder)
        }
        try StoreHeader.check(file)
        var created: OpaquePointer?
        try check(mdb_env_create(&created), "open", folder)
        guard let created else { throw .damaged(path: folder, reason: "LMDB gives no environment") }
        do throws(StoreError) {
            try check(mdb_env_set_maxdbs(created, UInt32(tableCount)), "open", folder)
            if access == .writing {
                let present = stat(file, &status) == 0 ? Int(status.st_size) : 0
                try check(mdb_env_set_mapsize(created, max(mapBytes, present)), "map", folder)
            }
            let flags = MDB_NOTLS | (access == .reading ? MDB_RDONLY : 0)
            try check(mdb_env_open(created, folder, UInt32(flags), 0o666), "open", folder)
            // Slots of readers that were killed: they would keep old pages from being used again.
            var stale: Int32 = 0
            try check(mdb_reader_check(created, &stale), "open", folder)
            try StorePages.check(created, path: folder)
        } catch {
            mdb_env_close(created)
            throw error
        }
        return created
    }

    private static func openTables(
        _ names: [String], of pointer: OpaquePointer, path: String, _ access: Access
    ) throws(StoreError) -> [String: Table] {
        var tables: [String: Table] = [:]
        let transaction = try begin(pointer, access == .reading ? UInt32(MDB_RDONLY) : 0, path)
        if access == .writing { try extendFile(of: pointer, path) }
        for name in names {
            var handle: MDB_dbi = 0
            let code = mdb_dbi_open(transaction.pointer, name, access == .writing ? UInt32(MDB_CREATE) : 0, &handle)
            if code == MDB_NOTFOUND { throw .foreign(path: path, reason: "it has no table \(name)") }
            try check(code, "open", path)
            tables[name] = Table(handle: handle)
        }
        try transaction.commit()
        return tables
    }

    deinit { mdb_env_close(pointer) }

    /// A table by the name that it was opened with.
    package func table(_ name: String) -> Table {
        guard let table = tables[name] else { preconditionFailure("the store was opened without table \(name)") }
        return table
    }

    /// Calls `body` with the store as it is now.
    package mutating func read<R>(_ body: (borrowing ReadTransaction) throws -> R) throws -> R {
        let transaction = try Self.begin(pointer, UInt32(MDB_RDONLY), path)
        return try body(transaction)
    }

    /// Calls `body`, then makes its changes durable, all or none. When they do not fit in the map, it is enlarged and `body`
    /// called again; what it throws undoes its changes.
    package mutating func write<R>(_ body: (borrowing WriteTransaction) throws -> R) throws -> R {
        while true {
            if let result = try attempt(body) { return result }
            try growMap()
        }
    }

    /// Nil when the map is full.
    private mutating func attempt<R>(_ body: (borrowing WriteTransaction) throws -> R) throws -> R? {
        do {
            let transaction = WriteTransaction(try Self.begin(pointer, 0, path))
            try Self.extendFile(of: pointer, path)
            let result = try body(transaction)
            try transaction.commit()
            return result
        } catch StoreError.mapFull { return nil }
    }

    private static func begin(_ pointer: OpaquePointer, _ flags: UInt32, _ path: String) throws(StoreError) -> ReadTransaction {
        var transaction: OpaquePointer?
        var code = mdb_txn_begin(pointer, nil, flags, &transaction)
        if code == MDB_MAP_RESIZED {
            // Another process has enlarged the map. Nothing of ours is under way: every transaction is within a call
            // that has exclusive access to this value.
            try check(mdb_env_set_mapsize(pointer, 0), "map", path)
            code = mdb_txn_begin(pointer, nil, flags, &transaction)
        }
        try check(code, flags == 0 ? "write" : "read", path)
        guard let transaction else { throw .damaged(path: path, reason: "no transaction") }
        return ReadTransaction(transaction, path: path)
    }

    private static func mapBytes(of pointer: OpaquePointer) -> Int {
        var information = MDB_envinfo()
        mdb_env_info(pointer, &information)
        return information.me_mapsize
    }

    private mutating func growMap() throws(StoreError) {
        let size = Self.mapBytes(of: pointer) * 2
        guard size <= Self.maximumMapBytes else { throw .tooLarge(path: path, maximum: Self.maximumMapBytes) }
        try check(mdb_env_set_mapsize(pointer, size), "map", path)
    }

    /// Makes the file as long as the map. Within a write transaction, so that no other process does the same.
    private static func extendFile(of pointer: OpaquePointer, _ path: String) throws(StoreError) {
        var descriptor: Int32 = -1
        try check(mdb_env_get_fd(pointer, &descriptor), "write", path)
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            throw .file(.system(operation: "read the size of", path: path, errno: errno))
        }
        let mapBytes = mapBytes(of: pointer)
        guard Int(status.st_size) < mapBytes else { return }
        guard ftruncate(descriptor, off_t(mapBytes)) == 0 else {
            throw .file(.system(operation: "enlarge", path: path, errno: errno))
        }
    }
}
