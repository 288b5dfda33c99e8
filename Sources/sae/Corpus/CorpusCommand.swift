import ArgumentParser

/// `sae corpus`: whole files of texts, here or as jobs of a daemon.
struct CorpusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "corpus",
        abstract: "Turn a large file of texts into vectors, here or as a job of a daemon.",
        discussion: """
            EXAMPLES:
              sae corpus embed texts.txt --output vectors.npy
              sae corpus submit texts.txt --connect unix:/run/sae/sae.sock --watch
              sae corpus fetch JOB --output vectors.npy

            A text is a line, or with --input-format jsonl a member of a JSON object a line. Row i of the output is line i of the \
            input; a line without a vector is a row of zeros and a line of the errors file.
            """,
        subcommands: [
            EmbedCorpusCommand.self, SubmitCorpusCommand.self, WatchCorpusCommand.self, ListCorpusCommand.self, CancelCorpusCommand.self,
            FetchCorpusCommand.self, DeleteCorpusCommand.self,
        ])
}
