import ArgumentParser
import Bytes
import Fitting
import Glibc
import Models
import Programs
import Tokenization

/// `sae fit`: a model from texts and a teacher's vectors.
struct FitCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fit",
        abstract: "Fit a model to a teacher's vectors.",
        discussion: """
            TEXTS has one text a line, plain or gzip; row i of VECTORS.npy (float32, float16 or int8, any width) \
            is the teacher's vector of line i: scripts/teacher/ makes them. Wider vectors are projected to the \
            model's dimensions by uncentred PCA, or by --basis.

            Examples:
              sae fit texts.txt.gz vectors.npy --output my.sae
              sae fit a.txt a.npy --also b.txt b.npy --checkpoint fit.state --resume --output my.sae

            With a start from the teacher's vectors of the pieces, which fits rare words better:
              sae fit vocabulary texts.txt.gz --output pieces.model --list pieces.txt
              scripts/teacher/capture.py pieces.txt pieces.npy
              sae fit texts.txt.gz vectors.npy --pieces pieces.model --start pieces.npy --output my.sae

            From a model that is there already, to which it stays near; the vectors have to be in its basis:
              sae fit mine.txt mine.npy --from default.sae --basis basis.npy --epochs 3 --rate 0.001 --output mine.sae
            """,
        subcommands: [FitLexiconCommand.self, FitVocabularyCommand.self],
        defaultSubcommand: FitLexiconCommand.self)
}

/// `sae fit vocabulary`: the pieces alone.
struct FitVocabularyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "vocabulary",
        abstract: "Train a vocabulary of pieces on texts.")

    @Argument(help: "Files of one text a line, plain or gzip.")
    var texts: [String]

    @Option(help: ArgumentHelp("Where the SentencePiece model goes.", valueName: "file"))
    var output: String

    @Option(help: ArgumentHelp(
        "Write the pieces as texts here, one a line in the order of their ids, for the teacher.", valueName: "file"))
    var list: String?

    @Option(help: "Pieces.")
    var vocabulary = FittingOptions().vocabularyCount

    func validate() throws {
        do throws(FittingError) { try FittingOptions.validate(vocabularyCount: vocabulary) } catch {
            throw ValidationError(error.summary)
        }
    }

    func run() throws {
        for path in [output, list].compactMap({ $0 }) { try checkWritable(path, reading: texts) }
        let lines = try texts.map { try TextLines(contentsOf: $0) }
        Terminal.printNote("training on \(lines.reduce(0) { $0 + $1.count }) texts")
        let bytes = try ModelFit.trainPieces(lines, vocabularyCount: vocabulary)
        var file = try AtomicFileWriter(output)
        try file.append(bytes)
        try file.commit()
        guard let list else { return }
        var listing = try AtomicFileWriter(list)
        for text in ModelFit.pieceTexts(try PieceModel(serialized: bytes)) {
            try listing.append(text + [UInt8(ascii: "\n")])
        }
        try listing.commit()
    }
}

/// `sae fit lexicon`, the default: the whole model.
struct FitLexiconCommand: MatrixCommand {
    static let configuration = CommandConfiguration(
        commandName: "lexicon",
        abstract: "Fit a model; what `sae fit` does without a subcommand.")

    @Argument(help: "Texts, one a line.")
    var texts: String

    @Argument(help: "The teacher's vectors of these texts.")
    var vectors: String

    @Option(help: ArgumentHelp("A scale a row of int8 vectors.", valueName: "npy"))
    var scales: String?

    @Option(
        parsing: .upToNextOption,
        help: ArgumentHelp("Further texts and their vectors, in pairs; may be repeated.", valueName: "file"))
    var also: [String] = []

    @Option(help: ArgumentHelp("Where the model goes.", valueName: "file"))
    var output: String

    @Option(help: "The model's name.")
    var name = "default"

    @Option(help: ArgumentHelp("Projection, teacher's × model's dimensions. (default: principal axes)", valueName: "npy"))
    var basis: String?

    @Option(help: ArgumentHelp("A SentencePiece model. (default: trained on the texts)", valueName: "file"))
    var pieces: String?

    @Option(help: ArgumentHelp("The teacher's vectors of the pieces, to start from. (default: random)", valueName: "npy"))
    var start: String?

    @Option(
        name: .customLong("from"),
        help: ArgumentHelp(
            "A model to go on from. Its pieces, discrete rules, shape and temperature stay, and its numbers are the start. Of "
                + "its fit and this one the better by held-out texts is written.",
            valueName: "model"))
    var parent: String?

    @Option(help: ArgumentHelp("Write the state here after every epoch.", valueName: "file"))
    var checkpoint: String?

    @Flag(help: "Go on from the checkpoint, if it is there.")
    var resume = false

    @Option(help: "Length of a vector, a multiple of 16. \(byDefault(FittingOptions().shape.dimensions))")
    var dimensions: Int?

    @Option(
        help: """
            Rank of the context gate; 0 leaves it out. This and the next three are multiples of 16. \
            \(byDefault(FittingOptions().shape.contextRank))
            """)
    var contextRank: Int?

    @Option(help: "Rank of the neighbour gate; 0 leaves it out. \(byDefault(FittingOptions().shape.neighbourRank))")
    var neighbourRank: Int?

    @Option(help: "Features of the couplings; 0 leaves them out. \(byDefault(FittingOptions().shape.couplingCount))")
    var couplings: Int?

    @Option(help: "Context rules; 0 leaves them out. \(byDefault(FittingOptions().shape.ruleCount))")
    var rules: Int?

    @Option(help: "Lowest and highest temperature of the gates to fit at.")
    var lowestTemperature = FittingOptions().lowestTemperature

    @Option
    var highestTemperature = FittingOptions().highestTemperature

    @Option(help: "The temperature that the model says to use. \(byDefault(FittingOptions().temperature))")
    var temperature: Float?

    @Option(help: "Epochs at the end that compute with the numbers as the file will hold them.")
    var roundedEpochs = FittingOptions().roundedEpochCount

    @Option(
        parsing: .upToNextOption,
        help: ArgumentHelp(
            "Changed copies of held-out texts and their vectors, to be scored: see perturb.py --of-held-out.",
            valueName: "file"))
    var contrasts: [String] = []

    @OptionGroup var excluded: ExclusionArguments

    @Option(help: ArgumentHelp("Discrete rules, as text; their phrases are fitted like pieces.", valueName: "file"))
    var phrases: String?

    @Option(help: "Pieces in the vocabulary. \(byDefault(FittingOptions().vocabularyCount))")
    var vocabulary: Int?

    @Option(help: "Passes over the texts.")
    var epochs = FittingOptions().epochCount

    @Option(help: "Texts a step.")
    var batch = FittingOptions().batchCount

    @Option(help: "Adam's rate at its highest.")
    var rate = FittingOptions().rate

    @Option(help: "The same for what all texts share.")
    var denseRate = FittingOptions().denseRate

    @Option(help: "Weight of the similarities of neighbours in the loss.")
    var similarityWeight = FittingOptions().similarityWeight

    @Option(help: "Neighbours a group, 1 to 16.")
    var group = FittingOptions().groupCount

    @Option(help: "Of ten thousand texts of the first file, so many are held out to choose the best epoch.")
    var heldOut = FittingOptions().heldOutShare

    @Option(help: "One seed, one model.")
    var seed = FittingOptions().seed

    @Option(help: "Threads; they do not change the model.")
    var threads = FittingOptions().threadCount

    func validate() throws {
        try TeacherPair.validate(also: also)
        guard contrasts.isEmpty || contrasts.count == 2 else {
            throw ValidationError("--contrasts takes two files: texts, then their vectors")
        }
        guard !resume || checkpoint != nil else { throw ValidationError("--resume needs --checkpoint FILE") }
        let kept: [(String, Bool)] = [
            ("pieces", pieces != nil), ("start", start != nil), ("phrases", phrases != nil), ("vocabulary", vocabulary != nil),
            ("dimensions", dimensions != nil), ("context-rank", contextRank != nil), ("neighbour-rank", neighbourRank != nil),
            ("couplings", couplings != nil), ("rules", rules != nil),
        ]
        if parent != nil, let (name, _) = kept.first(where: \.1) {
            throw ValidationError("--\(name) cannot be changed with --from: the model's own is kept")
        }
        do throws(FittingError) { try options(after: nil).validate() } catch { throw ValidationError(error.summary) }
    }

    func run() throws {
        for path in [output, checkpoint].compactMap({ $0 }) {
            try checkWritable(path, reading: [texts, vectors, scales, basis, pieces, start, phrases] + also + contrasts + excluded.without)
        }
        if let checkpoint { try FittingCheckpoint.checkPlace(checkpoint) }
        var inputs = ModelFit.Inputs(pairs: TeacherPair.pairs(texts, vectors, scales: scales, also: also))
        if contrasts.count == 2 { inputs.contrasts = TeacherPair(texts: contrasts[0], vectors: contrasts[1]) }
        inputs.phrases = phrases
        inputs.basis = basis
        inputs.pieces = pieces
        inputs.start = start
        inputs.parent = try parent.map { try Model($0) }
        var fitting = options(after: inputs.parent)
        fitting.excluded = try excluded.texts()
        let progress = FitProgress(epochCount: epochs)
        let contents = try ModelFit(inputs, options: fitting) { progress.show($0) }
            .run(name: name, checkpoint: checkpoint, resumes: resume)
        try contents.write(to: output)
        Terminal.printNote("wrote \(output)")
    }

    private func options(after parent: Model?) -> FittingOptions {
        var options = FittingOptions()
        options.shape.dimensions = dimensions ?? options.shape.dimensions
        options.shape.contextRank = contextRank ?? options.shape.contextRank
        options.shape.neighbourRank = neighbourRank ?? options.shape.neighbourRank
        options.shape.couplingCount = couplings ?? options.shape.couplingCount
        options.shape.ruleCount = rules ?? options.shape.ruleCount
        options.lowestTemperature = lowestTemperature
        options.highestTemperature = highestTemperature
        options.temperature = temperature ?? parent?.tables.temperature ?? options.temperature
        options.roundedEpochCount = roundedEpochs
        options.denseRate = denseRate
        options.vocabularyCount = vocabulary ?? options.vocabularyCount
        options.epochCount = epochs
        options.batchCount = batch
        options.rate = rate
        options.similarityWeight = similarityWeight
        options.groupCount = group
        options.heldOutShare = heldOut
        options.seed = seed
        options.threadCount = threads
        return options
    }
}

extension TeacherPair {
    /// The pairs of a command's arguments and its `--also`.
    static func pairs(_ texts: String, _ vectors: String, scales: String? = nil, also: [String]) -> [TeacherPair] {
        [TeacherPair(texts: texts, vectors: vectors, scales: scales)]
            + stride(from: 0, to: also.count, by: 2).map { TeacherPair(texts: also[$0], vectors: also[$0 + 1]) }
    }

    static func validate(also: [String]) throws {
        guard also.count % 2 == 0 else { throw ValidationError("--also takes pairs: texts, then their vectors") }
    }
}

/// The option that keeps evaluation sets out of what a model or its rules learn from.
struct ExclusionArguments: ParsableArguments {
    @Option(
        parsing: .upToNextOption,
        help: ArgumentHelp(
            "Learn nothing from texts that stand in these files (a line, or a column between tabs), but for case and punctuation.",
            valueName: "file"))
    var without: [String] = []

    func texts() throws -> ExcludedTexts { try ExcludedTexts(contentsOf: without) }
}

/// Finds out before long work that its result could not be written, or would take the place of a file that the work reads.
/// Nothing is left behind.
func checkWritable(_ path: String, reading inputs: [String?] = []) throws {
    guard !path.isEmpty else { throw CommandError.usage("a file to write needs a name") }
    try checkOther(path, than: inputs.compactMap { $0 })
    _ = try AtomicFileWriter(path)
}

/// Throws where the file to write is one of those that are read, by whatever name.
func checkOther(_ output: String, than inputs: [String]) throws {
    var written = stat()
    guard stat(output, &written) == 0, written.st_mode & S_IFMT == S_IFREG else { return }
    for input in inputs {
        var read = stat()
        if stat(input, &read) == 0, read.st_dev == written.st_dev, read.st_ino == written.st_ino {
            throw CommandError.usage("\(output) is a file to read, too: it would be lost")
        }
    }
}

/// How the help of an option tells its default where a model to go on from may have another.
private func byDefault(_ value: some CustomStringConvertible) -> String { "(default: \(value), or what --from has)" }

/// Shows the events of a fit, with a bar an epoch.
final class FitProgress {
    private let epochCount: Int
    private var epoch = -1
    private var bar: ProgressBar?

    init(epochCount: Int) { self.epochCount = epochCount }

    func show(_ event: ModelFit.Event) {
        switch event {
        case .stage(let text): Terminal.printNote(text)
        case .parent(let scores): Terminal.printNote("before: \(text(scores))")
        case .progress(let progress):
            if progress.epoch != epoch {
                epoch = progress.epoch
                bar = ProgressBar(
                    title: "epoch \(epoch + 1) of \(epochCount)", total: progress.textCount, unit: "texts")
            }
            bar?.update(done: progress.textsDone, note: "loss \(rounded(progress.meanLoss))")
        case .epoch(let epoch, let loss, let scores):
            bar?.finish()
            Terminal.printNote("epoch \(epoch + 1): loss \(rounded(loss)), held out: \(text(scores))")
        case .temperature(let temperature, let scores):
            Terminal.printNote("at temperature \(temperature): \(text(scores))")
        case .chosen(let exact, let shipped):
            Terminal.printNote("chosen, in float32: \(text(exact)); rounded: \(text(shipped))")
        }
    }

    private func text(_ scores: ModelFit.Scores) -> String {
        let natural = "cosine \(rounded(scores.natural.cosine)), agreement \(rounded(scores.natural.agreement))"
        guard let contrast = scores.contrast else { return natural }
        return natural + "; contrasts: cosine \(rounded(contrast.cosine)), agreement \(rounded(contrast.agreement))"
    }

    /// Five decimals.
    private func rounded(_ value: Double) -> String { "\((value * 1e5).rounded() / 1e5)" }
}
