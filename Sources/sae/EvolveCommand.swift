import ArgumentParser
import Bytes
import Evolution
import Fitting
import KeyValueStore
import Models
import RuleLibrary
import SAEEngine

/// `sae evolve`: rules that bring a model nearer to its teacher, found and kept.
struct EvolveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "evolve",
        abstract: "Search for rules that bring a model nearer to its teacher, and keep each generation.",
        discussion: """
            Forward selection: each round mines rules from what the model still misses, and keeps them if texts that did not \
            propose them gain. A third of the texts decides, and those that a fit holds out are only reported. The library \
            is the checkpoint: the same command goes on where it was stopped, and ends with the same generation.

            Prints the digest of the last generation.

            Example:
              sae evolve texts.txt.gz vectors.npy --library lib --promote
            """)

    @Argument(help: "Texts, one a line, plain or gzip.")
    var texts: String

    @Argument(help: "The teacher's vectors of these texts.")
    var vectors: String

    @Option(help: ArgumentHelp("Projection of vectors that are wider than the model's, as for sae fit.", valueName: "npy"))
    var basis: String?

    @OptionGroup var place: LibraryArguments
    @OptionGroup var model: LibraryModelArguments

    @Option(help: "Rounds; a round that gains nothing is the last one.")
    var rounds = GreedySearch.Options().rounds

    @Option(help: "Texts that must hold a pattern.")
    var minimumCount = MiningOptions().minimumCount

    @Option(help: "How many times chance a pattern's squared mean must be.")
    var evidence = MiningOptions().evidence

    @Option(help: "Standard errors above 0 that a gain must be, of a rule and of a round.")
    var significance = MiningOptions().significance

    @Option(help: "Rules a round, before their check.")
    var maximumRules = MiningOptions().maximumRules

    @Option(help: "Of ten thousand texts, so many are held out.")
    var heldOut = FittingOptions().heldOutShare

    @Option(help: "Decides which texts are held out, as for sae fit.")
    var seed = FittingOptions().seed

    @Option(help: "Threads; they do not change the result.")
    var threads = FittingOptions().threadCount

    @Flag(help: "Promote the last generation.")
    var promote = false

    func validate() throws {
        guard (1...1_000).contains(rounds) else { throw ValidationError("--rounds is from 1 to 1,000") }
        do throws(FittingError) { try fitting.validate() } catch { throw ValidationError(error.summary) }
    }

    func run() throws {
        let base = try model.open()
        var library = try Library(place.library, access: .writing)
        Terminal.printNote("reading texts and vectors")
        let material = try MiningMaterial(
            [TeacherPair(texts: texts, vectors: vectors)], basis: basis, engine: Engine(model: base), options: fitting)
        let search = GreedySearch(
            base, path: try model.model ?? ResourceLocator.model(), material: material, corpus: try digest(of: texts),
            teacher: try digest(of: vectors), fitting: fitting, options: options, observe: Self.show)
        let last = try search.run(in: &library, now: wallClockMilliseconds)
        if promote { try library.promote(last, milliseconds: wallClockMilliseconds()) }
        print(last)
    }

    private var fitting: FittingOptions {
        var options = FittingOptions()
        (options.heldOutShare, options.seed, options.threadCount) = (heldOut, seed, threads)
        return options
    }

    private var options: GreedySearch.Options {
        var options = GreedySearch.Options()
        options.rounds = rounds
        options.mining.minimumCount = minimumCount
        options.mining.evidence = evidence
        options.mining.significance = significance
        options.mining.maximumRules = maximumRules
        return options
    }

    private func digest(of path: String) throws -> Digest {
        let file = try MappedFile(path)
        return withExtendedLifetime(file) { Digest(SHA256.digest(of: file.bytes)) }
    }

    private static func show(_ event: GreedySearch.Event) {
        switch event {
        case .stage(let text): Terminal.printNote(text)
        case .generation(let digest, let ruleCount, let worth):
            let score = { (name: String) in worth.scores[name].map { fixed(Float($0), 5, 0) } ?? "-" }
            Terminal.printNote(
                "generation \(digest.short): \(ruleCount) rules, check \(score("check-cosine")), held out "
                    + "\(score("held-out-cosine")), \(fixed(Float(worth.microseconds), 2, 0)) us a text")
        case .noGain(let round, let proposed, let gain, let error):
            Terminal.printNote("round \(round): \(proposed) rules gain \(gain) ± \(error): the end")
        }
    }
}
