import ArgumentParser
import Bytes
import Evolution
import Fitting
import KeyValueStore
import Models
import RuleLibrary
import SAEEngine
import Tokenization

/// `sae evolve`: rules that bring a model nearer to its teacher, found and kept.
struct EvolveCommand: MatrixCommand {
    static let configuration = CommandConfiguration(
        commandName: "evolve",
        abstract: "Search for rules that bring a model nearer to its teacher, and keep each generation.",
        discussion: """
            Two of three texts propose rules, the third decides, and those that a fit holds out are only reported. Evolution \
            keeps islands of rule sets that are mutated, crossed and selected; greedy adds the rule that gains most, again and \
            again. Both choose from the same candidates.

            The state is written after each round; --resume goes on from it, to the same result. The library gets the best \
            rule set after every refit, and at the end those of the smallest size, of the best balance and of the highest \
            cosine. Prints the digest of the balanced one.

            Examples:
              sae evolve texts.txt.gz vectors.npy --library lib --promote
              sae evolve texts.txt.gz vectors.npy --library control --method greedy --cpu-minutes 10
            """)

    @Argument(help: "Texts, one a line, plain or gzip.")
    var texts: String

    @Argument(help: "The teacher's vectors of these texts.")
    var vectors: String

    @Option(
        parsing: .upToNextOption,
        help: ArgumentHelp("Further texts and their vectors, in pairs; may be repeated.", valueName: "file"))
    var also: [String] = []

    @Option(help: ArgumentHelp("Projection of vectors that are wider than the model's, as for sae fit.", valueName: "npy"))
    var basis: String?

    @OptionGroup var excluded: ExclusionArguments
    @OptionGroup var place: LibraryArguments
    @OptionGroup var model: LibraryModelArguments

    @Option(help: "How rules are searched: evolution or greedy.")
    var method = SearchOptions().method

    @Option(help: "Rounds, at most.")
    var rounds = SearchOptions().rounds

    @Option(help: "End after the round in which so many minutes of processors were used; 0: no limit.")
    var cpuMinutes = 0

    @Option(help: "Rules that the search chooses from.")
    var candidates = SearchOptions().candidateCount

    @Option(help: "Texts that must hold a pattern.")
    var minimumCount = SearchOptions().minimumCount

    @Option(help: "How many times chance a pattern's squared mean must be.")
    var evidence = SearchOptions().evidence

    @Option(help: "What a megabyte of rules must bring in mean cosine.")
    var bytePrice = SearchOptions().bytePrice

    @Option(help: "What a microsecond a text must bring in mean cosine.")
    var timePrice = SearchOptions().timePrice

    @Option(help: "Islands of rule sets.")
    var islands = SearchOptions().islandCount

    @Option(help: "Rule sets an island.")
    var population = SearchOptions().populationCount

    @Option(help: "Rounds from one refit of the rules' vectors to the next.")
    var refitEvery = SearchOptions().refitRounds

    @Option(help: ArgumentHelp("Where the state goes after each round. (default: LIBRARY.search)", valueName: "file"))
    var checkpoint: String?

    @Flag(help: "Go on from the state, with the same texts and options.")
    var resume = false

    @Option(help: "Of ten thousand texts, so many are held out.")
    var heldOut = FittingOptions().heldOutShare

    @Option(help: "Decides which texts are held out, as for sae fit.")
    var splitSeed = FittingOptions().seed

    @Option(help: "One seed, one result.")
    var seed = SearchOptions().seed

    @Option(help: "Threads; they do not change the result.")
    var threads = FittingOptions().threadCount

    @Option(help: ArgumentHelp("Write a page about the search here.", valueName: "html"))
    var report: String?

    @Flag(help: "Run forward selection after it, for as much time of processors at most, to compare.")
    var control = false

    @Flag(help: "Promote the last generation.")
    var promote = false

    func validate() throws {
        try TeacherPair.validate(also: also)
        guard (1...1_000_000).contains(rounds) else { throw ValidationError("--rounds is from 1 to 1,000,000") }
        guard cpuMinutes >= 0 else { throw ValidationError("--cpu-minutes is 0 or more") }
        guard (1...1_000_000).contains(candidates) else { throw ValidationError("--candidates is from 1 to 1,000,000") }
        guard minimumCount > 0 else { throw ValidationError("--minimum-count is 1 or more") }
        guard (1...64).contains(islands), (1...256).contains(population) else {
            throw ValidationError("1 to 64 islands of 1 to 256 rule sets are possible")
        }
        guard !control || method == .evolution else { throw ValidationError("--control is for --method evolution") }
        guard refitEvery > 0 else { throw ValidationError("--refit-every is 1 or more") }
        guard evidence >= 1, bytePrice >= 0, timePrice >= 0, evidence.isFinite, bytePrice.isFinite, timePrice.isFinite else {
            throw ValidationError("--evidence is 1 or more, and prices are 0 or more")
        }
        do throws(FittingError) { try fitting.validate() } catch { throw ValidationError(error.summary) }
    }

    func run() throws {
        if let report { try checkWritable(report, reading: [texts, vectors, basis] + also + excluded.without) }
        let pairs = TeacherPair.pairs(texts, vectors, also: also)
        let base = try model.open()
        var fitting = fitting
        fitting.excluded = try excluded.texts()
        var library = try Library(place.library, access: .writing)
        Terminal.printNote("reading texts and vectors")
        let material = try MiningMaterial(
            pairs, basis: basis, engine: Engine(model: base), options: fitting)
        let (corpus, teacher) = (try Digest(ofFiles: pairs.map(\.texts)), try Digest(ofFiles: pairs.map(\.vectors)))
        let path = try model.model ?? ResourceLocator.model()
        func search(_ options: SearchOptions, checkpoint: String?) -> RuleSearch {
            RuleSearch(
                base, path: path, material: material, corpus: corpus, teacher: teacher, fitting: fitting, options: options,
                checkpoint: checkpoint, observe: Self.show)
        }
        let result = try search(options, checkpoint: checkpoint ?? place.library + ".search")
            .run(in: &library, resumes: resume, reports: report != nil, now: wallClockMilliseconds)
        var beside: SearchResult?
        if control {
            var options = options
            options.method = .greedy
            options.processorSeconds = Int(result.processorSeconds.rounded(.up))
            Terminal.printNote("forward selection, as control")
            beside = try search(options, checkpoint: nil).run(in: &library, now: wallClockMilliseconds)
        }
        if let report, let contents = result.report {
            let page = SearchPage(
                modelName: base.name, options: options, result: result, report: contents, control: beside,
                pieceText: { id in String(decoding: base.pieces.piece(id), as: UTF8.self) })
            var file = try AtomicFileWriter(report)
            try file.append(Array(page.html.utf8))
            try file.commit()
        }
        if promote { try library.promote(result.best.digest, milliseconds: wallClockMilliseconds()) }
        Terminal.printNote("\(fixed(Float(result.processorSeconds), 1, 0)) s of processors used")
        print(result.best.digest)
    }

    private var fitting: FittingOptions {
        var options = FittingOptions()
        (options.heldOutShare, options.seed, options.threadCount) = (heldOut, splitSeed, threads)
        return options
    }

    private var options: SearchOptions {
        var options = SearchOptions()
        (options.method, options.seed, options.rounds, options.threadCount) = (method, seed, rounds, threads)
        (options.processorSeconds, options.candidateCount) = (cpuMinutes * 60, candidates)
        (options.minimumCount, options.evidence) = (minimumCount, evidence)
        (options.bytePrice, options.timePrice) = (bytePrice, timePrice)
        (options.islandCount, options.populationCount, options.refitRounds) = (islands, population, refitEvery)
        return options
    }

    static func show(_ event: RuleSearch.Event) {
        switch event {
        case .stage(let text): Terminal.printNote(text)
        case .round(let round, let count, let pace, let seconds):
            Terminal.printNote(
                "round \(round.number) of \(count): \(fixed(Float(round.championCosine), 5, 0)) with \(round.ruleCount) rules, "
                    + "\(fixed(Float(round.editsPerText), 2, 0)) edits a text, archive \(round.archiveCount) cells, "
                    + "\(round.evaluationCount) trials, \(Int(pace.trialsPerSecond))/s, \(fixed(Float(seconds), 1, 0)) s of processors, "
                    + "\(ProgressBar.clock(pace.secondsLeft)) left\(round.isRefitted ? ", refitted" : "")")
        case .generation(let digest, let name, let ruleCount, let worth):
            let score = { (name: String) in worth.scores[name].map { fixed(Float($0), 5, 0) } ?? "-" }
            Terminal.printNote(
                "generation \(digest.short), \(name): \(ruleCount) rules, check \(score("check-cosine")), held out "
                    + "\(score("held-out-cosine")), \(worth.bytes) bytes, \(fixed(Float(worth.microseconds), 2, 0)) us a text")
        }
    }
}

extension SearchOptions.Method: ExpressibleByArgument {}

extension Digest {
    /// SHA-256 of the files' bytes, end to end.
    init(ofFiles paths: [String]) throws {
        let hash = SHA256()
        for path in paths {
            let file = try MappedFile(path)
            withExtendedLifetime(file) { hash.update(file.bytes) }
        }
        self = Digest(hash.finalize())
    }
}
