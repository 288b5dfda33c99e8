import ArgumentParser
import CPosix
import Daemon

/// The command `sae`; `Entry` runs it.
struct SAE: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sae",
        abstract: "The Semantic Annealing Engine: text to vectors.",
        discussion: """
            Examples:
              sae embed "A cat sat on the mat." "A dog ran."
              sae embed --input texts.txt --output vectors.npy

            Exit codes: 0 success, 64 wrong usage, 65 bad input or damaged file, 66 file not found, 69 daemon \
            not reachable, 70 internal error, 74 input or output failed, 75 overloaded or too late, 77 no \
            permission, 78 wrong configuration.

            Completions: sae --generate-completion-script bash|zsh|fish
            """,
        version: versionAndRevision,
        subcommands: [
            EmbedCommand.self,
            CorpusCommand.self,
            TraceCommand.self,
            ForthCommand.self,
            ServeCommand.self,
            TokenCommand.self,
            AdminCommand.self,
            FitCommand.self,
            TeacherCommand.self,
            AdaptCommand.self,
            EvolveCommand.self,
            EvalCommand.self,
            BenchCommand.self,
            ModelCommand.self,
            RulesCommand.self,
            DevicesCommand.self,
            ProbeDeviceCommand.self,
        ])

    /// "0.1.0 (3fa4b2c9d8e7)", without the revision when the build was not told of one.
    private static var versionAndRevision: String {
        let revision = String(cString: sae_revision())
        return revision == "unknown" ? Version.current : "\(Version.current) (\(revision))"
    }
}
