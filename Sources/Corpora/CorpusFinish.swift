package import Bytes
import Glibc

/// A finished file.
package struct CorpusFile: Sendable, Equatable, Codable {
    package var name: String
    package var bytes: Int
    /// SHA-256, in hexadecimal.
    package var sha256: String

    package init(name: String, bytes: Int, sha256: String) {
        self.name = name
        self.bytes = bytes
        self.sha256 = sha256
    }
}

/// The last steps of a corpus, after its last chunk. Each may be repeated after a stop at any moment.
package struct CorpusFinish {
    private let files: [(file: CorpusPaths.File, header: [UInt8])]
    private let paths: CorpusPaths

    package init(_ plan: CorpusPlan, at paths: CorpusPaths, rowCount: Int) {
        self.paths = paths
        let row = plan.numpyRow
        let isArray = plan.output == .npy
        var files = [
            (paths.rows, isArray ? numpyHeader(element: row.element, shape: [rowCount, row.columns]) : []), (paths.errors, []),
        ]
        if plan.hasScales { files.append((paths.scales, numpyHeader(element: "<f4", shape: [rowCount]))) }
        self.files = files
    }

    /// Writes the headers, waits until the files are on the disk, and says what they are. Ends with `ECANCELED` once `isStopped`.
    package func seal(isStopped: () -> Bool = { false }) throws(FileError) -> [CorpusFile] {
        var result: [CorpusFile] = []
        for (file, header) in files {
            // Named already, when this was done before.
            let isOpen = access(file.partial, F_OK) == 0
            let path = isOpen ? file.partial : file.finished
            let descriptor = try FileDescriptor(path, flags: O_RDWR)
            if isOpen {
                try descriptor.write(header, at: 0)
                try descriptor.synchronize()
            }
            let size = try descriptor.size
            let name = file.finished.split(separator: "/").last.map(String.init) ?? file.finished
            let digest = try descriptor.sha256(ofFirst: size) { _ throws(FileError) in
                if isStopped() { throw .system(operation: "read", path: path, errno: ECANCELED) }
            }
            result.append(CorpusFile(name: name, bytes: size, sha256: hexadecimal(digest)))
        }
        return result
    }

    /// Gives the files their names, for good.
    package func publish() throws(FileError) {
        for (file, _) in files where access(file.partial, F_OK) == 0 {
            guard rename(file.partial, file.finished) == 0 else {
                throw .system(operation: "rename to", path: file.finished, errno: errno)
            }
        }
        try FileDescriptor(paths.folder, flags: O_RDONLY | O_DIRECTORY).synchronize()
    }
}

extension FileDescriptor {
    /// SHA-256 of the first `size` bytes, or of as many as there are; `each` sees them pass.
    package func sha256(
        ofFirst size: Int, _ each: ([UInt8]) throws(FileError) -> Void = { _ in }
    ) throws(FileError) -> [UInt8] {
        let hash = SHA256()
        var offset = 0
        while offset < size {
            let part = try bytes(at: offset, count: min(1 << 20, size - offset))
            guard !part.isEmpty else { break }
            part.withUnsafeBytes { hash.update($0) }
            try each(part)
            offset += part.count
        }
        return hash.finalize()
    }
}
