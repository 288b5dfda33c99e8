import ArgumentParser
import Bytes
import Corpora
import Foundation
import SAEClient

/// `sae corpus submit`: uploads a file to a daemon, which embeds it whatever happens.
struct SubmitCorpusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "submit",
        abstract: "Upload a file to a daemon as a job, and print the job's id.",
        discussion: """
            EXAMPLES:
              sae corpus submit texts.txt --connect unix:/run/sae/sae.sock
              sae corpus submit texts.txt --watch --output vectors.npy --key nightly-2026-11-25

            With --key a submission that was interrupted goes on, and a repeated one gives the same job.
            """)

    @Argument(help: "File of texts.", completion: .file())
    var input: String

    @OptionGroup var options: CorpusOptions
    @OptionGroup var daemon: RequiredDaemon

    @Option(help: "A name of your choice, at most 64 bytes: the same key and options give the same job.")
    var key = ""

    @Flag(help: "Show the job's progress until it ends.")
    var watch = false

    @Option(help: ArgumentHelp("When the job is done, fetch the vectors to this file.", valueName: "file"))
    var output: String?

    func run() async throws {
        let client = try await daemon.client()
        let file = try FileDescriptor(input, flags: O_RDONLY)
        let size = try file.size
        let digest = try file.sha256(ofFirst: size)
        var bar = ProgressBar(title: "upload", total: size, unit: "bytes")
        let job = try await client.submitJob(options.specification(key: key), inputBytes: UInt64(size), sha256: digest) { offset in
            let bytes = try file.bytes(at: Int(offset), count: min(1 << 20, size - Int(offset)))
            guard !bytes.isEmpty else { throw CorpusError.inputChanged(input) }
            return bytes
        } progress: {
            bar.update(done: Int($0))
        }
        bar.finish()
        print(job.id)
        fflush(nil)
        guard watch || output != nil else { return }
        let ended = try await JobProgress.watch(job.id, client)
        if let output { try await JobDownload(job: ended, output: output).run(client) }
    }
}
