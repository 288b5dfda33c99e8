import Bytes
import KeyValueStore

/// What stands in the tables of a library, read within a transaction.
struct LibraryContents {
    let path: String
    let generations: Table
    let parts: Table
    let identities: Table
    let promotions: Table

    func generation(
        _ digest: Digest, _ view: borrowing ReadTransaction
    ) throws -> (generation: Generation, worth: Worth) {
        let entry = try entry(digest, view)
        var reader = try PartReader(entry, digest: digest, parts: parts, path: path)
        return (try reader.generation(view), entry.worth)
    }

    func entry(_ digest: Digest, _ view: borrowing ReadTransaction) throws -> GenerationEntry {
        guard let entry = try presentEntry(digest, view) else {
            throw LibraryError.unknown(path: path, name: digest.short)
        }
        return entry
    }

    func presentEntry(_ digest: Digest, _ view: borrowing ReadTransaction) throws -> GenerationEntry? {
        guard let bytes = try view.value(of: digest.bytes, in: generations) else { return nil }
        guard let entry = bytes.withUnsafeBytes({ GenerationEntry($0, for: digest) }) else {
            throw LibraryError.damaged(path: path, reason: "generation \(digest.short) does not have its checksum")
        }
        return entry
    }

    /// By ascending digest.
    func entries(_ view: borrowing ReadTransaction) throws -> [(Digest, GenerationEntry)] {
        var all: [(Digest, GenerationEntry)] = []
        try view.forEach(in: generations) { key, value in
            guard key.count == Digest.byteCount, let entry = GenerationEntry(value, for: Digest(Array(key))) else {
                throw LibraryError.damaged(path: path, reason: "generation \(hexadecimal(key.prefix(6))) does not have its checksum")
            }
            all.append((Digest(Array(key)), entry))
            return true
        }
        return all
    }

    /// The last one first.
    func promotions(_ view: borrowing ReadTransaction, onlyLast: Bool = false) throws -> [Library.Promotion] {
        var first: [UInt8] = []
        if onlyLast, let last = try view.lastKey(in: promotions) { first = last }
        var found: [Library.Promotion] = []
        try view.forEach(in: promotions, from: first) { key, value in
            guard let bytes = unsealed(value, with: key) else {
                throw LibraryError.damaged(path: path, reason: "a promotion does not have its checksum")
            }
            var reader = ByteReader(bytes)
            guard let digest = reader.digest(), let milliseconds = reader.next(Int64.self) else {
                throw LibraryError.damaged(path: path, reason: "a promotion is too short")
            }
            found.append(Library.Promotion(digest: digest, milliseconds: milliseconds))
            return true
        }
        return found.reversed()
    }

    func append(_ promotion: Library.Promotion, _ transaction: borrowing WriteTransaction) throws(StoreError) {
        let last = try transaction.view.lastKey(in: promotions)
        let key = partKey((last ?? []).reduce(0) { $0 << 8 | UInt64($1) } + 1)
        var writer = ByteWriter()
        writer.append(contentsOf: promotion.digest.bytes)
        writer.append(promotion.milliseconds)
        try transaction.put(writer.bytes.sealed(with: key), for: key, in: promotions)
    }
}
