import Bytes
package import KeyValueStore
package import Rules

/// Generations in an LMDB store: kept under their digests, with their lineage and their worth, their rules shared. One of them
/// is promoted: it is the one that serves.
///
/// For one thread at a time; see `Environment`. Tables, beside those of `Parts.swift`:
/// ```
/// library      "format" → u32 = 1
/// generations  digest → `GenerationEntry`
/// promotions   u64 number, big-endian → digest, i64 milliseconds since 1970, u32 CRC-32C with the key; the last one counts
/// ```
package struct Library: ~Copyable {
    static let format: UInt32 = 1
    private static let tables = ["library", "generations", "parts", "identities", "promotions"]

    package let path: String
    var store: Environment

    /// What the library knows of a generation without reading its rules.
    package struct Summary: Sendable {
        package let digest: Digest
        package let model: Digest
        package let origin: Origin
        package let worth: Worth
        package let phraseCount: Int
        package let ruleCount: Int
        package let isPromoted: Bool
    }

    /// A generation was made the one that serves.
    package struct Promotion: Sendable, Equatable {
        package let digest: Digest
        package let milliseconds: Int64
    }

    /// Opens the library in a folder; to write, makes it if it is not there.
    /// - Parameter mapBytes: of the store's map at the start.
    package init(
        _ folder: String, access: Environment.Access, mapBytes: Int = Environment.initialMapBytes
    ) throws(LibraryError) {
        store = try Self.openedStore(folder, access, mapBytes)
        path = folder
    }

    /// The store, of a format that this program knows.
    private static func openedStore(
        _ folder: String, _ access: Environment.Access, _ mapBytes: Int
    ) throws(LibraryError) -> Environment {
        do {
            var store = try Environment(folder, tables: tables, access: access, mapBytes: mapBytes)
            let table = store.table("library")
            let key = Array("format".utf8)
            func version(_ view: borrowing ReadTransaction) throws(StoreError) -> UInt32? {
                try view.value(of: key, in: table).map { $0.prefix(4).reversed().reduce(0) { $0 << 8 | UInt32($1) } }
            }
            var found = try store.read { view in try version(view) }
            if found == nil, access == .writing {
                found = try store.write { transaction in
                    if let other = try version(transaction.view) { return other }
                    var writer = ByteWriter()
                    writer.append(format)
                    try transaction.put(writer.bytes, for: key, in: table)
                    return format
                }
            }
            guard let found else { throw LibraryError.damaged(path: folder, reason: "it states no format") }
            guard found <= format else { throw LibraryError.newer(path: folder, version: found) }
            return store
        } catch { throw wrapped(error) }
    }

    mutating func read<R>(_ body: (borrowing ReadTransaction) throws -> R) throws(LibraryError) -> R {
        do { return try store.read(body) } catch { throw Self.wrapped(error) }
    }

    mutating func write<R>(_ body: (borrowing WriteTransaction) throws -> R) throws(LibraryError) -> R {
        do { return try store.write(body) } catch { throw Self.wrapped(error) }
    }

    private static func wrapped(_ error: any Error) -> LibraryError {
        switch error {
        case let error as LibraryError: error
        case let error as StoreError: .store(error)
        default: preconditionFailure("\(error) is an error of neither library nor store")
        }
    }

    /// The promoted generation with its worth.
    /// - Throws: `nothingPromoted`, `damaged`, `store`.
    package mutating func promoted() throws(LibraryError) -> (generation: Generation, worth: Worth) {
        let contents = contents
        return try read { view in
            guard let last = try contents.promotions(view, onlyLast: true).first else {
                throw LibraryError.nothingPromoted(path: contents.path)
            }
            return try contents.generation(last.digest, view)
        }
    }

    /// A generation with its worth.
    package mutating func generation(_ digest: Digest) throws(LibraryError) -> (generation: Generation, worth: Worth) {
        let contents = contents
        return try read { view in try contents.generation(digest, view) }
    }

    /// The rules of a generation by the ids under which all generations share them, ascending.
    package mutating func rules(of digest: Digest) throws(LibraryError) -> [(id: UInt64, rule: Rule)] {
        let contents = contents
        return try read { view in
            var reader = try PartReader(
                try contents.entry(digest, view), digest: digest, parts: contents.parts, path: contents.path)
            return try reader.rules(view)
        }
    }

    /// All generations, the oldest first.
    package mutating func summaries() throws(LibraryError) -> [Summary] {
        let contents = contents
        return try read { view in
            let promoted = try contents.promotions(view, onlyLast: true).first?.digest
            return try contents.entries(view).map { Summary($0, $1, isPromoted: $0 == promoted) }
                .sorted { ($0.worth.madeMilliseconds, $0.digest) < ($1.worth.madeMilliseconds, $1.digest) }
        }
    }

    /// The one generation whose digest begins with these hexadecimal digits.
    /// - Throws: `unknown`, `ambiguous`.
    package mutating func digest(beginningWith prefix: String) throws(LibraryError) -> Digest {
        let prefix = prefix.lowercased()
        let found = try summaries().map(\.digest).filter { !prefix.isEmpty && $0.description.hasPrefix(prefix) }
        guard let first = found.first else { throw .unknown(path: path, name: prefix) }
        guard found.count == 1 else { throw .ambiguous(path: path, name: prefix, count: found.count) }
        return first
    }

    /// Keeps a generation, durably. One that is there already takes the worth given.
    package mutating func add(_ generation: Generation, worth: Worth) throws(LibraryError) {
        let contents = contents
        try write { transaction in
            var entry = GenerationEntry(generation, worth: worth)
            if let present = try contents.presentEntry(generation.digest, transaction.view) {
                entry = present
                entry.worth = worth
            } else {
                var writer = try PartWriter(parts: contents.parts, identities: contents.identities, transaction)
                try writer.write(generation, into: &entry, transaction)
            }
            try transaction.put(
                entry.serialized(for: generation.digest), for: generation.digest.bytes, in: contents.generations)
        }
    }

    /// Makes a generation the one that serves, in one step; the one before stays in the history.
    /// - Throws: `unknown`.
    package mutating func promote(_ digest: Digest, milliseconds: Int64) throws(LibraryError) {
        let contents = contents
        try write { transaction in
            _ = try contents.entry(digest, transaction.view)
            try contents.append(Promotion(digest: digest, milliseconds: milliseconds), transaction)
        }
    }

    /// Promotes the generation that served before the present one did: a roll-back. Doing it twice comes back.
    /// - Throws: `noPrevious`.
    package mutating func promotePrevious(milliseconds: Int64) throws(LibraryError) -> Digest {
        let contents = contents
        return try write { transaction in
            let history = try contents.promotions(transaction.view)
            guard let present = history.first, let previous = history.first(where: { $0.digest != present.digest }) else {
                throw LibraryError.noPrevious(path: contents.path)
            }
            _ = try contents.entry(previous.digest, transaction.view)
            try contents.append(Promotion(digest: previous.digest, milliseconds: milliseconds), transaction)
            return previous.digest
        }
    }

    /// All promotions, the last one first.
    package mutating func promotions() throws(LibraryError) -> [Promotion] {
        let contents = contents
        return try read { view in try contents.promotions(view) }
    }

    var contents: LibraryContents {
        LibraryContents(
            path: path, generations: store.table("generations"), parts: store.table("parts"),
            identities: store.table("identities"), promotions: store.table("promotions"))
    }
}

extension Library.Summary {
    init(_ digest: Digest, _ entry: GenerationEntry, isPromoted: Bool) {
        self.init(
            digest: digest, model: entry.model, origin: entry.origin, worth: entry.worth, phraseCount: entry.phrases.count,
            ruleCount: entry.rules.count, isPromoted: isPromoted)
    }
}
