import ArgumentParser
import Bytes
import Corpora
import Foundation
import SAEClient
import SAEEngine

/// `sae corpus embed`: a file of texts to a file of vectors, chunk by chunk; the same command goes on after a stop.
struct EmbedCorpusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "embed",
        abstract: "Embed a file here, or through a daemon, and write the vectors here.",
        discussion: """
            EXAMPLES:
              sae corpus embed texts.txt --output vectors.npy
              sae corpus embed docs.jsonl --input-format jsonl --text-field body --encoding int8 --output docs.npy

            Stopped at any moment, the same command goes on where it was; the file is the same as without the stop. While it is under \
            way it is OUTPUT.partial, with OUTPUT.journal and others beside it. Lines without a vector are told in \
            OUTPUT.errors.jsonl, which is not there if there are none.
            """)

    @Argument(help: "File of texts.", completion: .file())
    var input: String

    @Option(help: ArgumentHelp("Write the vectors to this file, which appears when it is whole.", valueName: "file"))
    var output: String

    @OptionGroup var options: CorpusOptions

    @Option(help: ArgumentHelp("Model file. (default: the one that comes with sae)", valueName: "file"))
    var model: String?

    @Option(help: "Threads to compute on. (default: one a processor)")
    var threads: Int?

    @OptionGroup var daemon: DaemonOptions

    @Flag(help: "Forget what an earlier run has done.")
    var restart = false

    /// To a daemon: a chunk is under way on each.
    private static let connections = 4

    func validate() throws {
        guard daemon.connect == nil || (model == nil && threads == nil) else {
            throw ValidationError("--model and --threads have no meaning with --connect")
        }
        if let threads, !(1...256).contains(threads) { throw ValidationError("--threads is 1 to 256") }
    }

    func run() async throws {
        try CorpusPaths.checkOutput(output)
        try checkOther(output, than: [input])
        let embedder = try await makeEmbedder()
        let plan = try options.plan(modelDimensions: embedder.dimensions)
        let file = try FileDescriptor(input, flags: O_RDONLY)
        let identity = try CorpusIdentity(of: file, plan, generation: embedder.generation)
        let paths = CorpusPaths(output: output)
        let lock = try OutputLock(of: output)
        defer { withExtendedLifetime(lock) {} }
        try identity.claim(output, paths, restarts: restart)
        let rows = try await embed(file, identity, plan, paths, by: embedder)
        let finish = CorpusFinish(plan, at: paths, rowCount: rows.count)
        _ = try finish.seal()
        try finish.publish()
        unlink(paths.journal)
        unlink(CorpusIdentity.path(output))
        // Of a run before, with another encoding.
        if !plan.hasScales { unlink(paths.scales.finished) }
        guard rows.failed > 0 else { return _ = unlink(paths.errors.finished) }
        Terminal.printNote("\(rows.failed) of \(rows.count) lines have no vector: see \(paths.errors.finished)")
    }

    private func makeEmbedder() async throws -> any CorpusEmbedder {
        let variable = model == nil && threads == nil ? ProcessInfo.processInfo.environment["SAE_CLIENT_CONNECT"] : nil
        if let endpoint = daemon.connect ?? variable, !endpoint.isEmpty {
            try DaemonOptions.check(endpoint, of: daemon.connect == nil ? "SAE_CLIENT_CONNECT" : "--connect")
            return try await RemoteCorpusEmbedder(try await daemon.clients(at: endpoint, count: Self.connections))
        }
        try daemon.checkUnused()
        return LocalCorpusEmbedder(
            engine: try Engine(contentsOf: try model ?? ResourceLocator.model()),
            threads: threads ?? max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))))
    }

    /// Embeds and commits what an earlier run has not; rows of the whole, and those among them without a vector.
    private func embed(
        _ file: consuming FileDescriptor, _ identity: CorpusIdentity, _ plan: CorpusPlan, _ paths: CorpusPaths,
        by embedder: any CorpusEmbedder
    ) async throws -> (count: Int, failed: Int) {
        let output = try CorpusOutput(plan, at: paths)
        if output.chunkCount > 0 { Terminal.printNote("going on behind row \(output.rowCount) of an earlier run") }
        var reader = CorpusReader(file, size: identity.inputBytes, plan: plan, after: output.last)
        var bar = ProgressBar(title: "embed", total: identity.inputBytes, unit: "bytes")
        bar.update(done: output.last?.inputEnd ?? 0)
        var underWay: [(chunk: CorpusChunk, rows: Task<CorpusRows, any Error>)] = []
        defer { for each in underWay { each.rows.cancel() } }
        var computed: (chunk: CorpusChunk, rows: CorpusRows)?
        repeat {
            while underWay.count < embedder.concurrency, let chunk = try reader.next() {
                underWay.append((chunk, Task { try await embedder.rows(of: chunk, plan) }))
            }
            // The next chunks are computed while this one is written and synchronized.
            if let (chunk, rows) = computed {
                if options.failOnError, let failure = rows.firstFailure {
                    throw CorpusError.rowFailed(input: input, row: failure.row, reason: failure.reason.message)
                }
                try output.commit(chunk, rows)
                bar.update(done: chunk.inputEnd, note: "\(output.rowCount) rows")
            }
            computed = nil
            guard let first = underWay.first else { break }
            computed = (first.chunk, try await first.rows.value)
            underWay.removeFirst()
        } while computed != nil
        guard try FileDescriptor(input, flags: O_RDONLY).isStill(identity) else { throw CorpusError.inputChanged(input) }
        bar.finish()
        return (output.rowCount, output.failedCount)
    }
}
