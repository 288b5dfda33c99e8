import ArgumentParser
import Corpora
import SAEClient

/// `sae corpus watch`.
struct WatchCorpusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "watch", abstract: "Show a job's progress until it ends. To stop watching does not stop the job.")

    @Argument(help: "The job's id.")
    var job: String

    @OptionGroup var daemon: RequiredDaemon

    func run() async throws {
        let ended = try await JobProgress.watch(job, try await daemon.client())
        for file in ended.files { print("\(file.name)\t\(file.byteCount)") }
    }
}

/// `sae corpus list`.
struct ListCorpusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List your jobs, newest first: id, state, rows, input read, owner, what it waits for or failed of.")

    @OptionGroup var daemon: RequiredDaemon

    func run() async throws {
        for job in try await daemon.client().jobs() {
            let percent = job.inputBytes == 0 ? 0 : job.inputDone * 100 / job.inputBytes
            print("\(job.id)\t\(job.state)\t\(job.rowCount) rows\t\(percent) %\t\(job.owner)\t\(job.stall)\(job.failure)")
        }
    }
}

/// Does `action` to each job. Where several are named, a failure is told with its job, and the others are done all the same.
private func each(_ jobs: [String], _ action: (String) async throws -> Void) async throws {
    var failure: (any Error)?
    for job in jobs {
        do { try await action(job) } catch {
            failure = error
            if jobs.count > 1 { Terminal.printNote("\(job): \(error)") }
        }
    }
    if let failure { throw failure }
}

/// `sae corpus cancel`.
struct CancelCorpusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cancel", abstract: "End jobs at their next chunk. On those that have ended it changes nothing.")

    @Argument(help: "Ids of jobs.")
    var jobs: [String]

    @OptionGroup var daemon: RequiredDaemon

    func run() async throws {
        let client = try await daemon.client()
        try await each(jobs) { _ = try await client.cancelJob($0) }
    }
}

/// `sae corpus fetch`.
struct FetchCorpusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fetch",
        abstract: "Fetch the files of a finished job.",
        discussion: "An interrupted fetch goes on when the command is given again.")

    @Argument(help: "The job's id.")
    var job: String

    @Option(help: ArgumentHelp("Write the vectors to this file; others get names beside it.", valueName: "file"))
    var output: String

    @OptionGroup var daemon: RequiredDaemon

    func run() async throws {
        try CorpusPaths.checkOutput(output)
        let client = try await daemon.client()
        let job = try await client.job(job)
        guard job.state == .done else {
            throw CorpusError.jobEnded(id: job.id, state: "is \(job.state)", reason: job.failure)
        }
        try await JobDownload(job: job, output: output).run(client)
    }
}

/// `sae corpus delete`.
struct DeleteCorpusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "delete", abstract: "Remove ended jobs and their files from the daemon.")

    @Argument(help: "Ids of jobs.")
    var jobs: [String]

    @OptionGroup var daemon: RequiredDaemon

    func run() async throws {
        let client = try await daemon.client()
        try await each(jobs) { try await client.deleteJob($0) }
    }
}
