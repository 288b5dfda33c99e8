import Annealing
import ArgumentParser
import Bytes
import Fitting
import Models
import Rules
import SAEEngine
import Tokenization

/// `sae rules`: generations of discrete rules, and how to make some by hand.
struct RulesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rules",
        abstract: "Keep generations of rules in a library, and promote one.",
        discussion: """
            A generation is the discrete rules of a model, named by its digest; give as much of it as is unique, or \
            "promoted". The daemon serves the promoted one: sae serve --library FOLDER.

            Examples:
              sae rules import rules.txt --phrases phrases.npy --library lib
              sae rules list --library lib
              sae rules promote 3fa4b2 --library lib
              sae rules promote --previous --library lib
            """,
        subcommands: [
            ListGenerationsCommand.self, ShowGenerationCommand.self, DiffGenerationsCommand.self, LineageCommand.self,
            ExportGenerationCommand.self, ImportGenerationCommand.self, PromoteGenerationCommand.self,
            PruneGenerationsCommand.self, VerifyLibraryCommand.self, MineRulesCommand.self, OptimumCommand.self,
        ])
}

/// `sae rules mine`: rules from what a model misses of its teacher.
struct MineRulesCommand: MatrixCommand {
    static let configuration = CommandConfiguration(
        commandName: "mine",
        abstract: "Mine rules that add a phrase where the model misses something.",
        discussion: """
            Two of three texts give patterns and vectors, the third decides which are kept; the texts that a fit holds \
            out give the figures that are printed.

            Example:
              sae rules mine texts.txt.gz vectors.npy --output rules.txt
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

    @Option(help: ArgumentHelp("Where the rules go, as text.", valueName: "file"))
    var output: String

    @Option(help: ArgumentHelp("Where the vectors of the phrases go.", valueName: "npy"))
    var phrases: String?

    @Option(help: ArgumentHelp("Model file. (default: the one that comes with sae)", valueName: "file"))
    var model: String?

    @Option(help: "Texts that must hold a pattern.")
    var minimumCount = MiningOptions().minimumCount

    @Option(help: "How many times chance a pattern's squared mean must be.")
    var evidence = MiningOptions().evidence

    @Option(help: "Standard errors above 0 that a rule's gain must be.")
    var significance = MiningOptions().significance

    @Option(help: "Rules, before the check.")
    var maximumRules = MiningOptions().maximumRules

    func validate() throws { try TeacherPair.validate(also: also) }

    func run() throws {
        for path in [output, phrases].compactMap({ $0 }) { try checkWritable(path, reading: [texts, vectors, basis, model] + also + excluded.without) }
        let engine = try Engine(contentsOf: try model ?? ResourceLocator.model())
        Terminal.printNote("reading and embedding texts")
        var fitting = FittingOptions()
        fitting.excluded = try excluded.texts()
        let material = try MiningMaterial(
            TeacherPair.pairs(texts, vectors, also: also), basis: basis, engine: engine, options: fitting)
        var options = MiningOptions()
        options.minimumCount = minimumCount
        options.evidence = evidence
        options.significance = significance
        options.maximumRules = maximumRules
        let miner = RuleMiner(
            material.texts, vectors: material.vectors, vocabularyCount: engine.model.pieces.vocabularyCount,
            options: options)
        let mined = try miner.mine { Terminal.printNote($0) }
        let names = PieceNames(pieces: engine.model.pieces)
        var file = try AtomicFileWriter(output)
        try file.append(Array(RuleSyntax.print(mined.rules, names: names).utf8))
        try file.commit()
        if let phrases {
            var writer = try NumpyWriter(phrases, rowCount: mined.keptCount, columnCount: engine.dimensions)
            try writer.append(mined.phraseVectors)
            try writer.finish()
        }
        let before = miner.score(of: material.texts.heldOut, with: nil)
        let after = miner.score(of: material.texts.heldOut, with: mined)
        print(
            #"{"candidates":\#(mined.candidateCount),"taken":\#(mined.takenCount),"kept":\#(mined.keptCount),"#
                + #""held_out_texts":\#(material.texts.heldOut.count),"edits_per_text":\#(after.editsPerText),"#
                + #""cosine":[\#(before.cosine),\#(after.cosine)],"agreement":[\#(before.agreement),\#(after.agreement)]}"#)
    }
}

/// `sae rules optimum`: how often schedules reach the least energy.
struct OptimumCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "optimum",
        abstract: "Measure how often annealing reaches the least energy.",
        discussion: """
            Examples:
              sae rules optimum texts.txt.gz
              sae rules optimum texts.txt.gz --rules rules.txt
            """)

    @Argument(help: "Texts, one a line, plain or gzip.")
    var texts: String

    @Option(help: ArgumentHelp("Rules, as text. (default: the model's)", valueName: "file"))
    var rules: String?

    @Option(help: ArgumentHelp("Model file. (default: the one that comes with sae)", valueName: "file"))
    var model: String?

    @Option(help: "Use the first so many texts.")
    var maximum = 10_000

    func run() throws {
        let model = try Model(try model ?? ResourceLocator.model())
        let rules = try rules.map { try read($0, model) } ?? model.phrases
        let lines = try TextLines(contentsOf: texts, maximumCount: maximum)
        var tokenizer = Tokenizer(model: model.pieces)
        var buffer = PieceBuffer()
        let pieces = (0..<lines.count).map { line in
            lines[line].withUnsafeBufferPointer { _ = tokenizer.encode($0, maximumPieces: 512, into: &buffer) }
            return Array(buffer.ids)
        }
        let scale = rules.rules.reduce(Float(0)) { $0 + abs($1.worth) } / Float(max(1, rules.rules.count))
        for schedule in Self.schedules(scale) {
            var options = AnnealingOptions(schedule: schedule)
            options.limits.maximumSweeps = 256
            let rates = OptimumRates(Annealer(rules: rules, options: options), texts: pieces)
            print(
                #"{"schedule":"\#(schedule)","texts":\#(rates.texts),"matching":\#(rates.matching),"#
                    + #""contested":\#(rates.contested),"unfinished":\#(rates.unfinished),"reached":\#(rates.reached),"#
                    + #""energy":\#(rates.energy),"least_energy":\#(rates.leastEnergy),"#
                    + #""sweeps_per_matching_text":\#(Double(rates.sweeps) / Double(max(1, rates.matching - rates.unfinished))),"#
                    + #""microseconds_per_text":\#(Double(rates.nanoseconds) / 1000 / Double(max(1, rates.texts)))}"#)
        }
    }

    private func read(_ file: String, _ model: Model) throws -> RuleSet {
        var text: [UInt8] = []
        var reader = try LineReader(file)
        while try reader.appendNext(to: &text) { text.append(UInt8(ascii: "\n")) }
        return try RuleSyntax.parse(text, ofFile: file, names: PieceNames(pieces: model.pieces))
    }

    /// Greedy, and both ways to cool from temperatures around the mean worth of a rule.
    private static func schedules(_ scale: Float) -> [CoolingSchedule] {
        [.greedy]
            + [scale / 2, scale, scale * 2].flatMap { start -> [CoolingSchedule] in
                [
                    .geometric(start: start, factor: 0.8, floor: start / 50),
                    .geometric(start: start, factor: 0.95, floor: start / 50),
                    .adaptive(start: start, acceptance: 0.3, floor: start / 50),
                ]
            }
    }
}

extension PieceNames {
    init(pieces: PieceModel) {
        self.init((0..<UInt32(pieces.vocabularyCount)).map { pieces.piece($0) })
    }
}
