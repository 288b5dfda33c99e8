import ArgumentParser
import Bytes
import Evolution
import Fitting
import KeyValueStore
import Models
import Programs
import RuleLibrary
import SAEEngine

/// `sae adapt`: a model for a domain, out of one that is there.
struct AdaptCommand: MatrixCommand {
    static let configuration = CommandConfiguration(
        commandName: "adapt",
        abstract: "Adapt a model to the texts of a domain, in one command.",
        discussion: """
            Captures the teacher's vectors of TEXTS (not with --vectors), fits the model on from where it is, searches for rules, \
            measures before and after on texts that were kept from all of it, and promotes the rules in the library if the \
            domain gained. With --general, other texts are fitted too, so that they are not forgotten; give about as many as \
            the domain has.

            Vectors that are wider than the model are projected by --basis. Without it, their strongest axes are turned to \
            where the model says the same, so that any teacher will do; the basis is written beside the model.

            Examples:
              sae adapt texts.txt --teacher all-MiniLM-L6-v2 --output mine.sae
              sae adapt texts.txt --vectors texts.npy --general other.txt --general-vectors other.npy --output mine.sae
              sae serve --model mine.sae --library mine.library
            """)

    @Argument(help: "The domain's texts, one a line, plain or gzip.")
    var texts: String

    @Option(help: ArgumentHelp("A sentence-transformers model. (default: MiniLM, as of scripts/teacher)", valueName: "folder"))
    var teacher: String?

    @Option(help: ArgumentHelp("The teacher's vectors of the texts, in place of a capture.", valueName: "npy"))
    var vectors: String?

    @Option(help: ArgumentHelp("Texts that should not be forgotten.", valueName: "file"))
    var general: String?

    @Option(help: ArgumentHelp("The teacher's vectors of these.", valueName: "npy"))
    var generalVectors: String?

    @Option(help: ArgumentHelp("The model to start from. (default: the one that comes with sae)", valueName: "file"))
    var model: String?

    @Option(help: ArgumentHelp("Projection of the vectors that the model was fitted with.", valueName: "npy"))
    var basis: String?

    @Option(help: ArgumentHelp("The rule library. (default: OUTPUT with .library)", valueName: "folder"))
    var library: String?

    @Option(help: ArgumentHelp("Where the model goes.", valueName: "file"))
    var output = "adapted.sae"

    @Option(help: "The model's name.")
    var name = "adapted"

    @Option(help: "Passes over the texts.")
    var epochs = 4

    @Option(help: "Adam's rate at its highest.")
    var rate: Float = 0.002

    @Option(help: "The same for what all texts share.")
    var denseRate: Float = 0.0005

    @Option(help: "Of ten thousand texts, so many are held out to choose the best epoch.")
    var heldOut = 200

    @Option(help: "Of ten thousand texts, so many are kept from everything, to measure on.")
    var kept = 500

    @Option(help: "How rules are searched: evolution or greedy.")
    var method = SearchOptions().method

    @Option(help: "Rounds of the search for rules, at most.")
    var rounds = SearchOptions().rounds

    @Option(help: "End the search after the round in which so many minutes of processors were used; 0: no limit.")
    var cpuMinutes = 0

    @Option(help: "Texts that must hold a rule's pattern.")
    var minimumCount = SearchOptions().minimumCount

    @Option(help: "Decides which texts are held out or kept, and the order of a fit.")
    var seed = FittingOptions().seed

    @Option(help: "Threads, and processes of a capture; they do not change the result.")
    var threads = FittingOptions().threadCount

    @Flag(help: "Print one JSON object.")
    var json = false

    func validate() throws {
        guard vectors == nil || teacher == nil else { throw ValidationError("give either --vectors or --teacher") }
        guard generalVectors == nil || general != nil else { throw ValidationError("--general-vectors needs --general") }
        guard general == nil || (vectors == nil) == (generalVectors == nil) else {
            throw ValidationError("give the vectors of both files or of none: they have to be of one teacher")
        }
        guard kept > 0 else { throw ValidationError("--kept is at least 1") }
        guard heldOut + kept < 10_000 else { throw ValidationError("--held-out and --kept leave no text to fit") }
        guard (1...1_000_000).contains(rounds) else { throw ValidationError("--rounds is from 1 to 1,000,000") }
        guard cpuMinutes >= 0 else { throw ValidationError("--cpu-minutes is 0 or more") }
        guard minimumCount > 0 else { throw ValidationError("--minimum-count is 1 or more") }
        do throws(FittingError) { try fitting(after: nil).validate() } catch { throw ValidationError(error.summary) }
    }

    func run() throws {
        try checkWritable(output, reading: [texts])
        let start = ContinuousClock.now
        let parent = try Model(try model ?? ResourceLocator.model())
        let fitting = fitting(after: parent)
        let domain = try pair(texts, vectors, "domain")
        let general = try general.map { try pair($0, generalVectors, "general") }
        var inputs = Adaptation.Inputs(
            domain: domain, corpus: try Digest(ofFiles: [domain.texts]), teacher: try Digest(ofFiles: [domain.vectors]))
        inputs.general = general
        inputs.basis = try basis ?? alignment([domain] + (general.map { [$0] } ?? []), parent, fitting)
        var search = SearchOptions()
        (search.method, search.seed, search.rounds, search.threadCount) = (method, seed, rounds, threads)
        (search.processorSeconds, search.minimumCount) = (cpuMinutes * 60, minimumCount)
        let progress = FitProgress(epochCount: epochs)
        let adaptation = Adaptation(inputs, parent: parent, fitting: fitting, search: search) { event in
            switch event {
            case .step(let text): note(text)
            case .fit(let event): progress.show(event)
            case .search(let event): EvolveCommand.show(event)
            }
        }
        let libraryPath = library ?? stem + ".library"
        var library = try Library(libraryPath, access: .writing)
        let result = try adaptation.run(name: name, output: output, library: &library, now: wallClockMilliseconds)
        if result.isBetter { try library.promote(result.generation, milliseconds: wallClockMilliseconds()) }
        report(result, library: libraryPath, seconds: (ContinuousClock.now - start) / .seconds(1))
    }

    private var stem: String { output.hasSuffix(".sae") ? String(output.dropLast(4)) : output }

    /// A file of texts with its vectors, which are captured beside the model unless they are given.
    private func pair(_ texts: String, _ vectors: String?, _ kind: String) throws -> TeacherPair {
        if let vectors { return TeacherPair(texts: texts, vectors: vectors) }
        note("capturing the teacher's vectors of \(texts)")
        let path = "\(stem).\(kind).npy"
        try TeacherCapture(folder: teacher, workers: threads).run(texts, to: path)
        return TeacherPair(texts: texts, vectors: path)
    }

    /// A basis of our own for vectors that are wider than the model, written beside it; nil for those that are not.
    private func alignment(_ pairs: [TeacherPair], _ parent: Model, _ options: FittingOptions) throws -> String? {
        guard try NumpyArray(pairs[0].vectors).columnCount > parent.dimensions else { return nil }
        note("turning the teacher's axes to the model's")
        let alignment = try TeacherAlignment(pairs, to: Engine(model: parent), options: options)
        let path = stem + ".basis.npy"
        try alignment.write(to: path)
        Terminal.printNote("\(path): the model agrees with it by a mean cosine of \(fixed(Float(alignment.cosine), 4, 0))")
        return path
    }

    private func fitting(after parent: Model?) -> FittingOptions {
        var options = FittingOptions()
        (options.epochCount, options.rate, options.denseRate) = (epochs, rate, denseRate)
        (options.heldOutShare, options.testShare) = (heldOut, kept)
        options.roundedEpochCount = min(options.roundedEpochCount, epochs)
        options.temperature = parent?.tables.temperature ?? options.temperature
        (options.seed, options.threadCount) = (seed, threads)
        return options
    }

    private func note(_ step: String) { Terminal.printNote("== \(step)") }

    private func report(_ result: Adaptation.Result, library: String, seconds: Double) {
        let rows = [("domain", result.domain)] + (result.general.map { [("general", $0)] } ?? [])
        if json {
            var writer = JSONWriter()
            writer.object { writer in
                for (name, scores) in rows {
                    writer.object(name) { writer in
                        writer.value("texts", scores.before.cosines.count)
                        for (stage, score) in [("before", scores.before), ("fitted", scores.fitted), ("final", scores.final)] {
                            writer.object(stage) { writer in
                                writer.value("cosine", score.cosine.mean)
                                writer.value("cosine_error", score.cosine.error)
                                writer.value("agreement", score.agreement)
                            }
                        }
                        writer.value("gain", scores.gain.mean)
                        writer.value("gain_error", scores.gain.error)
                    }
                }
                writer.value("model", output)
                writer.value("library", library)
                writer.value("generation", result.generation.description)
                writer.value("promoted", result.isBetter)
                writer.value("seconds", seconds)
            }
            return print(writer.text)
        }
        func number(_ value: Double) -> String { fixed(Float(value), 4, 0) }
        let head = ["kept texts", "", "before", "fitted", "with rules", "gain"]
        let lines = rows.flatMap { name, scores -> [[String]] in
            let stages = [scores.before, scores.fitted, scores.final]
            return [
                [name, "cosine"] + stages.map { number($0.cosine.mean) }
                    + ["\(signed(Float(scores.gain.mean), 0, places: 4)) ± \(number(scores.gain.error))"],
                ["\(scores.before.cosines.count)", "agreement"] + stages.map { number($0.agreement) }
                    + [signed(Float(scores.final.agreement - scores.before.agreement), 0, places: 4)],
            ]
        }
        print(table([head] + lines))
        print("\(output), \(library): generation \(result.generation.short), \(ProgressBar.clock(seconds))")
        if !result.isBetter {
            Terminal.printNote("the domain did not gain by more than two standard errors: nothing was promoted")
        }
    }
}
