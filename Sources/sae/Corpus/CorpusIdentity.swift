import Bytes
import Corpora
import Foundation

/// What a run of `sae corpus embed` was begun with, in OUTPUT.run: the same goes on, anything else is refused.
struct CorpusIdentity: Codable, Equatable {
    var inputBytes: Int
    /// Nanoseconds since 1970.
    var inputModified: Int
    /// Encoding, dimensions, formats.
    var options: String
    var generation: UInt64

    init(of file: borrowing FileDescriptor, _ plan: CorpusPlan, generation: UInt64) throws(FileError) {
        (inputBytes, inputModified) = try file.identity()
        options = "\(plan.input.rawValue) \(plan.textField.debugDescription) \(plan.output.rawValue) \(plan.encoding) "
            + "\(plan.dimensions) \(plan.truncates)"
        self.generation = generation
    }

    static func path(_ output: String) -> String { "\(output).run" }

    /// Makes the files beside `output` this run's.
    ///
    /// - Throws: `CorpusError.otherRun` where they are another's, unless it `restarts`.
    func claim(_ output: String, _ paths: CorpusPaths, restarts: Bool) throws {
        let path = Self.path(output)
        if restarts {
            for file in [paths.rows.partial, paths.errors.partial, paths.scales.partial, paths.journal, path] { unlink(file) }
        } else if access(path, F_OK) == 0 {
            let bytes = try MappedFile(path)
            let data = withExtendedLifetime(bytes) { Data(bytes.bytes) }
            guard let earlier = try? JSONDecoder().decode(CorpusIdentity.self, from: data) else {
                throw FileError.format(path: path, reason: "not the record of a run: give --restart")
            }
            if let difference = difference(from: earlier) { throw CorpusError.otherRun(output: output, difference: difference) }
            return
        }
        var file = try AtomicFileWriter(path)
        try file.append(Array(try JSONEncoder().encode(self)))
        try file.commit()
    }

    private func difference(from earlier: CorpusIdentity) -> String? {
        if inputBytes != earlier.inputBytes || inputModified != earlier.inputModified { return "input" }
        if options != earlier.options { return "options" }
        return generation == earlier.generation ? nil : "model"
    }
}

extension FileDescriptor {
    /// Size and time of the last change.
    fileprivate func identity() throws(FileError) -> (bytes: Int, modified: Int) {
        var status = stat()
        guard fstat(number, &status) == 0 else { throw .system(operation: "read the size of", path: path, errno: errno) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw .format(path: path, reason: "not a regular file: a run that may be resumed cannot read it")
        }
        guard try bytes(at: 0, count: 2) != [0x1f, 0x8b] else {
            throw .format(path: path, reason: "compressed by gzip: decompress it first")
        }
        return (Int(status.st_size), status.st_mtim.tv_sec * 1_000_000_000 + status.st_mtim.tv_nsec)
    }

    /// Bytes of a corpus that is to be read more than once.
    func corpusSize() throws(FileError) -> Int { try identity().bytes }

    func isStill(_ identity: CorpusIdentity) throws(FileError) -> Bool {
        let now = try self.identity()
        return now.bytes == identity.inputBytes && now.modified == identity.inputModified
    }
}

extension CorpusPaths {
    /// What a run ends with takes the name of its output, so nothing but a file may have that name.
    static func checkOutput(_ path: String) throws {
        guard !path.isEmpty else { throw CommandError.usage("--output needs the name of a file") }
        var status = stat()
        if stat(path, &status) == 0, status.st_mode & S_IFMT != S_IFREG {
            throw CommandError.usage("--output \(path) is there and not a regular file: give the name of a file")
        }
        guard access(Bytes.folder(of: path), W_OK) == 0 else {
            throw FileError.system(operation: "write to the folder of", path: path, errno: errno)
        }
    }
}
