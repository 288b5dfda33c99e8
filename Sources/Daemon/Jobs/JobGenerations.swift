package import Bytes
import Glibc
package import RuleLibrary

/// The generations that corpus jobs need, by their records on the disk: for whoever throws generations away.
package enum JobGenerations {
    /// Of each job below `stateDirectory` that began and has rows left to compute: its generation, and its id.
    ///
    /// Jobs that have not begun need none: they take what serves then.
    /// - Throws: `FileError` for a folder or a record that cannot be read, since its job may need any generation.
    package static func needed(below stateDirectory: String) throws(FileError) -> [(digest: Digest, job: String)] {
        guard access(stateDirectory, F_OK) == 0 else {
            throw .system(operation: "find", path: stateDirectory, errno: errno)
        }
        let folder = "\(stateDirectory)/jobs"
        let ids: [String]
        do throws(FileError) { ids = try JobID.all(in: folder) } catch {
            if case .system(_, _, ENOENT) = error { return [] }
            throw error
        }
        var needed: [(digest: Digest, job: String)] = []
        for id in ids {
            do throws(FileError) {
                let record = try JobRecord(readingFile: "\(folder)/\(id)/job.json")
                if let digest = record.neededGeneration { needed.append((digest, id)) }
            } catch {
                // Being made, or deleted.
                if case .system(_, _, ENOENT) = error { continue }
                throw error
            }
        }
        return needed
    }
}

extension JobRecord {
    /// What must compute the rest of the job, if it has one and began.
    fileprivate var neededGeneration: Digest? {
        phase.hasEnded || cancelAsked != nil || isComputed ? nil : Digest(hexadecimal: generationDigest)
    }
}
