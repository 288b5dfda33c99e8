import Bytes
import Corpora

/// `manifest.json`: what the files of a finished job are, and what they were made of.
enum JobManifest {
    /// Writes it durably; what it is itself.
    static func write(for job: Job, _ files: [CorpusFile]) throws(FileError) -> CorpusFile {
        let record = job.record
        var writer = JSONWriter()
        writer.object { json in
            json.value("version", 1)
            json.value("software", "sae/\(Version.current)")
            json.value("job", job.id)
            json.value("generation", String(record.generation, radix: 16))
            json.value("generation_digest", record.generationDigest)
            json.object("input") { input in
                input.value("format", record.spec.input.rawValue)
                input.value("bytes", record.inputBytes)
                input.value("sha256", record.inputDigest)
            }
            json.value("rows", record.rows)
            json.value("failed", record.failedRows)
            json.value("dimensions", record.dimensions)
            json.value("encoding", "\(record.plan.encoding)")
            json.value("truncate", record.spec.truncate)
            json.value("chunks", record.chunks)
            json.value("created_ms", record.created)
            json.value("started_ms", record.started)
            json.array("files", files) { list, file in
                list.object { entry in
                    entry.value("name", file.name)
                    entry.value("bytes", file.bytes)
                    entry.value("sha256", file.sha256)
                }
            }
        }
        let bytes = Array((writer.text + "\n").utf8)
        var file = try AtomicFileWriter("\(job.folder)/manifest.json")
        try file.append(bytes)
        try file.commit()
        return CorpusFile(
            name: "manifest.json", bytes: bytes.count, sha256: hexadecimal(bytes.withUnsafeBytes { SHA256.digest(of: $0) }))
    }
}
