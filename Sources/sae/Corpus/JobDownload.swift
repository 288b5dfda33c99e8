import Bytes
import Corpora
import Foundation
import SAEClient

/// Fetches the files of a finished job; what an earlier attempt has fetched is not fetched again.
struct JobDownload {
    let job: Job
    /// Name of the vectors; other files get a name beside it.
    let output: String

    func run(_ client: Client) async throws {
        // Of a job before, with another encoding.
        if !job.files.contains(where: { $0.name == "scales.npy" }) { unlink("\(output).scales.npy") }
        for file in job.files where file.name != "manifest.json" {
            let path: String
            switch file.name {
            case "vectors.npy", "rows.jsonl": path = output
            case "errors.jsonl":
                guard file.byteCount > 0 else { continue }
                path = "\(output).errors.jsonl"
            default: path = "\(output).\(file.name)"
            }
            try await fetch(file, to: path, client)
            if file.name == "errors.jsonl" {
                Terminal.printNote("\(job.failedRowCount) of \(job.rowCount) lines have no vector: see \(path)")
            }
        }
    }

    /// Under a name of the job's own until it is whole and right.
    private func fetch(_ file: Job.File, to path: String, _ client: Client) async throws {
        let partial = "\(path).\(job.id).partial"
        let target = try FileDescriptor(partial, flags: O_RDWR | O_CREAT)
        var offset = min(try target.size, Int(file.byteCount))
        var bar = ProgressBar(title: "fetch \(file.name)", total: Int(file.byteCount), unit: "bytes")
        bar.update(done: offset)
        if offset < Int(file.byteCount) {
            try await client.fetch(file.name, of: job.id, from: UInt64(offset)) { bytes in
                try target.write(bytes, at: offset)
                offset += bytes.count
                bar.update(done: offset)
            }
        }
        bar.finish()
        try target.synchronize()
        guard try target.size == Int(file.byteCount), try target.sha256(ofFirst: Int(file.byteCount)) == file.sha256 else {
            unlink(partial)
            throw CorpusError.damagedDownload(file: file.name)
        }
        guard rename(partial, path) == 0 else { throw FileError.system(operation: "rename to", path: path, errno: errno) }
    }
}
