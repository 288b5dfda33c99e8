import Bytes
import KeyValueStore

/// Throwing away and checking.
extension Library {
    package struct Pruned: Sendable, Equatable {
        package var generations: [Digest] = []
        /// What would have gone, too, had it not been pinned.
        package var pinned: [Digest] = []
        package var partCount = 0
    }

    /// Removes generations, and the parts that no other uses. What stays: the promoted one, the one that a roll-back would
    /// promote, the `keeping` that were made last, and those of `pinned`. The file does not shrink; its room is used again.
    /// - Parameter isTrial: only tells what it would remove.
    package mutating func prune(
        keeping count: Int, pinned: Set<Digest> = [], isTrial: Bool = false
    ) throws(LibraryError) -> Pruned {
        let contents = contents
        return try write { transaction in
            let history = try contents.promotions(transaction.view)
            var kept: Set<Digest> = []
            if let present = history.first?.digest {
                kept.insert(present)
                if let previous = history.first(where: { $0.digest != present })?.digest { kept.insert(previous) }
            }
            let entries = try contents.entries(transaction.view)
            let youngest = entries.sorted {
                ($0.1.worth.madeMilliseconds, $0.0) > ($1.1.worth.madeMilliseconds, $1.0)
            }
            kept.formUnion(youngest.prefix(count).map(\.0))
            var used = IDSet()
            var pruned = Pruned()
            for (digest, entry) in entries {
                let isHeld = pinned.contains(digest) && !kept.contains(digest)
                if isHeld { pruned.pinned.append(digest) }
                if isHeld || kept.contains(digest) {
                    for part in [entry.phrases, entry.classes, entry.rules] { used.insert(part) }
                } else {
                    pruned.generations.append(digest)
                }
            }
            used.sort()
            guard !pruned.generations.isEmpty else { return pruned }
            var unused: [(key: [UInt8], identity: [UInt8])] = []
            try transaction.view.forEach(in: contents.parts) { key, value in
                let id = key.reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
                if !used.contains(id), let bytes = unsealed(value, with: key) {
                    unused.append((Array(key), Array(SHA256.digest(of: bytes).prefix(16))))
                }
                return true
            }
            pruned.partCount = unused.count
            guard !isTrial else { return pruned }
            for digest in pruned.generations { try transaction.remove(digest.bytes, in: contents.generations) }
            for part in unused {
                try transaction.remove(part.key, in: contents.parts)
                try transaction.remove(part.identity, in: contents.identities)
            }
            return pruned
        }
    }

    /// What is in a library that was checked to the last byte.
    package struct Verification: Sendable, Equatable {
        package var generationCount = 0
        package var partCount = 0
        /// What is wrong, a sentence each.
        package var faults: [String] = []
    }

    /// Reads everything: the checksum of every entry, the digest of every generation from its contents, that every identity
    /// leads to its part and every promotion to its generation or to one that was pruned.
    package mutating func verify() throws(LibraryError) -> Verification {
        let contents = contents
        return try read { view in
            var result = Verification()
            var digests: Set<Digest> = []
            try view.forEach(in: contents.generations) { key, value in
                result.generationCount += 1
                guard key.count == Digest.byteCount, GenerationEntry(value, for: Digest(Array(key))) != nil else {
                    result.faults.append("generation \(hexadecimal(key.prefix(6))) does not have its checksum")
                    return true
                }
                digests.insert(Digest(Array(key)))
                return true
            }
            for digest in digests.sorted() {
                do {
                    if !(try contents.generation(digest, view).generation.isIntact) {
                        result.faults.append("generation \(digest.short) does not hold what its digest says")
                    }
                } catch let error as LibraryError {
                    guard case .damaged(path: _, let reason) = error else { throw error }
                    result.faults.append(reason)
                }
            }
            try view.forEach(in: contents.parts) { key, value in
                result.partCount += 1
                let name = hexadecimal(key)
                guard let bytes = unsealed(value, with: key) else {
                    result.faults.append("part \(name) does not have its checksum")
                    return true
                }
                let identity = Array(SHA256.digest(of: bytes).prefix(16))
                if try view.value(of: identity, in: contents.identities) != Array(key) {
                    result.faults.append("part \(name) is not found by its contents")
                }
                return true
            }
            if try view.count(of: contents.identities) != result.partCount {
                result.faults.append("there are identities without a part")
            }
            let history = try contents.promotions(view)
            if let present = history.first?.digest, !digests.contains(present) {
                result.faults.append("the promoted generation \(present.short) is not there")
            }
            return result
        }
    }
}

/// Ids of parts as runs, of which many generations may name the same.
private struct IDSet {
    private var runs: [Range<UInt64>] = []

    mutating func insert(_ part: PartRuns) { runs += part.runs }

    /// Puts the runs in order, joined where they touch; `contains` needs it.
    mutating func sort() {
        runs.sort { $0.lowerBound < $1.lowerBound }
        var joined: [Range<UInt64>] = []
        for run in runs {
            if let last = joined.last, last.upperBound >= run.lowerBound {
                joined[joined.count - 1] = last.lowerBound..<max(last.upperBound, run.upperBound)
            } else {
                joined.append(run)
            }
        }
        runs = joined
    }

    func contains(_ id: UInt64) -> Bool {
        var (low, high) = (0, runs.count)
        while low < high {
            let middle = (low + high) / 2
            if runs[middle].upperBound <= id { low = middle + 1 } else { high = middle }
        }
        return low < runs.count && runs[low].contains(id)
    }
}
