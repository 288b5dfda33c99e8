import ArgumentParser
import Bytes
import Corpora
import Foundation
import SAEClient

/// `sae corpus submit`: gives a file to a daemon, which embeds it whatever happens.
struct SubmitCorpusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "submit",
        abstract: "Give a file to a daemon as a job, and print the job's id.",
        discussion: """
            EXAMPLES:
              sae corpus submit texts.txt --connect unix:/run/sae/sae.sock
              sae corpus submit texts.txt --watch --output vectors.npy --key nightly-2026-11-25

              sae corpus submit 2026/texts.txt --remote --watch --connect unix:/run/sae/sae.sock

            With --key a submission that was interrupted goes on, and a repeated one gives the same job.
            """)

    @Argument(help: "File of texts.", completion: .file())
    var input: String

    @OptionGroup var options: CorpusOptions
    @OptionGroup var daemon: RequiredDaemon

    @Option(help: "A name of your choice, at most 64 bytes: the same key, options and file give the same job; another file is refused.")
    var key = ""

    @Flag(help: "The file is not uploaded, but on the daemon's machine, and this is its path relative to a directory of its setting jobs.input_roots.")
    var remote = false

    @Flag(help: "Show the job's progress until it ends.")
    var watch = false

    @Option(help: ArgumentHelp("When the job is done, fetch the vectors to this file.", valueName: "file"))
    var output: String?

    private var specification: JobSpecification {
        var specification = options.specification(key: key)
        if remote { specification.path = input }
        return specification
    }

    func validate() throws {
        guard !input.isEmpty else { throw ValidationError("the name of the file is empty") }
    }

    func run() async throws {
        try output.map(CorpusPaths.checkOutput)
        if let output, !remote { try checkOther(output, than: [input]) }
        let client = try await daemon.client()
        let job = try await remote ? client.createJob(specification) : upload(to: client)
        print(job.id)
        fflush(nil)
        guard watch || output != nil else { return }
        let ended = try await JobProgress.watch(job.id, client)
        if let output { try await JobDownload(job: ended, output: output).run(client) }
    }

    private func upload(to client: Client) async throws -> Job {
        let file = try FileDescriptor(input, flags: O_RDONLY)
        let size = try file.corpusSize()
        let digest = try file.sha256(ofFirst: size)
        var bar = ProgressBar(title: "upload", total: size, unit: "bytes")
        let job = try await client.submitJob(specification, inputBytes: UInt64(size), sha256: digest) { offset in
            let bytes = try file.bytes(at: Int(offset), count: min(1 << 20, size - Int(offset)))
            guard !bytes.isEmpty else { throw CorpusError.inputChanged(input) }
            return bytes
        } progress: {
            bar.update(done: Int($0))
        }
        bar.finish()
        return job
    }
}
