import ArgumentParser
import Bytes
import Fitting
import Glibc
import SAEEngine

/// `sae teacher`: a teacher's vectors, looked at and checked.
struct TeacherCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "teacher",
        abstract: "Look at a teacher's vectors, check them, and compare them.",
        discussion: """
            VECTORS.npy is float32, float16 or int8, a row a text; --scales has a factor a row of int8 values. \
            scripts/teacher/capture.py makes such files.
            """,
        subcommands: [TeacherInfoCommand.self, TeacherVerifyCommand.self, TeacherCompareCommand.self])
}

/// The vectors that a command is about.
struct TeacherArguments: ParsableArguments {
    @Argument(help: "The teacher's vectors.")
    var vectors: String

    @Option(help: ArgumentHelp("A scale a row of int8 vectors.", valueName: "npy"))
    var scales: String?

    func open() throws -> TeacherVectors { try TeacherVectors(vectors, scales: scales) }
}

struct TeacherInfoCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "info",
        abstract: "Print rows, dimensions and norms of vectors.",
        discussion: """
            "lean" is the length of the mean of the rows' directions: 0 when they lean nowhere, 1 when all are the same.

            Example:
              sae teacher info vectors.npy --scales scales.npy
            """)

    @OptionGroup var teacher: TeacherArguments

    @Flag(help: "Print one JSON object.")
    var json = false

    func run() throws {
        let vectors = try teacher.open()
        let survey = vectors.survey()
        if json {
            var writer = JSONWriter()
            writer.object { writer in
                writer.value("file", teacher.vectors)
                writer.value("rows", vectors.rowCount)
                writer.value("dimensions", vectors.columnCount)
                writer.value("values", vectors.array.element.name)
                for (name, value) in survey.figures { writer.value(String(name.map { $0 == " " ? "_" : $0 }), value) }
                writer.value("unusable", survey.faultCount)
            }
            return print(writer.text)
        }
        let lines = [
            ("rows", "\(vectors.rowCount)"), ("dimensions", "\(vectors.columnCount)"),
            ("values", vectors.array.element.name),
        ] + survey.figures.map { ($0.0, "\(Float($0.1))") } + [("unusable", "\(survey.faultCount)")]
        let width = lines.map(\.0.count).max() ?? 0
        print(lines.map { padded($0, width) + "  " + $1 }.joined(separator: "\n"))
    }
}

struct TeacherVerifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Check that vectors can be fitted to, and belong to a text file.",
        discussion: """
            Every value must be finite, no row all zero, every scale above 0, and the rows as many as the lines of TEXTS. \
            Prints the first faults with their rows, which count from 0. Exit code 65 when something is wrong.

            Examples:
              sae teacher verify vectors.npy texts.txt.gz --scales scales.npy
              sae teacher verify vectors.npy texts.txt.gz --prefix
            """)

    @OptionGroup var teacher: TeacherArguments

    @Argument(help: "The texts, one a line, plain or gzip.")
    var texts: String?

    @Flag(help: "The vectors may be those of the first lines only.")
    var prefix = false

    func run() throws {
        let vectors = try teacher.open()
        let lines = try texts.map { try TextLines(contentsOf: $0).count }
        let survey = vectors.survey(lines: lines, allowsMoreLines: prefix)
        for fault in survey.faults { print(fault.text) }
        print(
            "\(vectors.rowCount) rows of \(vectors.columnCount), \(lines.map { "\($0) lines, " } ?? "")"
                + "\(survey.faultCount) faults")
        if let fault = survey.faults.first {
            throw TeacherFault(path: teacher.vectors, fault: fault, count: survey.faultCount)
        }
    }
}

struct TeacherCompareCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compare",
        abstract: "How far two teachers, or a model and a teacher, say the same of the same texts.",
        discussion: """
            With OTHER.npy, the two files' rows are those of the same texts. With --texts, a model is compared with the \
            teacher of VECTORS.npy. "cosine" needs vectors of one width, in one basis; the correlations of similarities do not.

            Examples:
              sae teacher compare minilm.npy other.npy
              sae teacher compare vectors.npy --scales scales.npy --texts texts.txt.gz --model my.sae
            """)

    @OptionGroup var teacher: TeacherArguments

    @Argument(help: "Another teacher's vectors of the same texts.")
    var other: String?

    @Option(help: ArgumentHelp("A scale a row of the other's vectors.", valueName: "npy"))
    var otherScales: String?

    @Option(help: ArgumentHelp("The texts, one a line, plain or gzip: compare a model with the teacher.", valueName: "file"))
    var texts: String?

    @Option(help: ArgumentHelp("The model. (default: the one that comes with sae)", valueName: "file"))
    var model: String?

    @Option(help: ArgumentHelp("Projection of the vectors to the model's dimensions.", valueName: "npy"))
    var basis: String?

    @Option(help: "So many texts, drawn at random, are compared.")
    var sample = TeacherComparison().sampleCount

    @Option(help: "So many pairs of them, drawn at random, are ranked.")
    var pairs = TeacherComparison().pairCount

    @Option(help: "Decides what is drawn.")
    var seed = TeacherComparison().seed

    @Flag(help: "Print one JSON object.")
    var json = false

    func validate() throws {
        guard (other == nil) == (texts != nil) else {
            throw ValidationError("give either another teacher's vectors or --texts")
        }
        guard texts != nil || (model == nil && basis == nil) else { throw ValidationError("--model and --basis need --texts") }
        guard texts == nil || otherScales == nil else { throw ValidationError("--other-scales needs another teacher's vectors") }
        guard (2...32_768).contains(sample) else { throw ValidationError("--sample is from 2 to 32,768") }
        guard (1...10_000_000).contains(pairs) else { throw ValidationError("--pairs is from 1 to 10,000,000") }
    }

    func run() throws {
        let vectors = try teacher.open()
        var comparison = TeacherComparison()
        (comparison.sampleCount, comparison.pairCount, comparison.seed) = (sample, pairs, seed)
        let result: TeacherAgreement
        if let other {
            result = try comparison.agreement(of: vectors, with: try TeacherVectors(other, scales: otherScales))
        } else {
            let lines = try TextLines(contentsOf: texts ?? "", maximumCount: vectors.rowCount)
            guard lines.count == vectors.rowCount else {
                throw FittingError.tooFewTexts(
                    texts: texts ?? "", lines: lines.count, vectors: teacher.vectors, rows: vectors.rowCount)
            }
            let engine = try Engine(contentsOf: try model ?? ResourceLocator.model())
            result = try comparison.agreement(
                of: engine, on: lines, with: vectors, basis: basis,
                threads: max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))))
        }
        show(result)
    }

    private func show(_ result: TeacherAgreement) {
        if json {
            var writer = JSONWriter()
            writer.object { writer in
                writer.value("texts", result.textCount)
                if let cosine = result.cosine {
                    writer.value("cosine", cosine.mean)
                    writer.value("cosine_error", cosine.error)
                } else {
                    writer.null("cosine")
                }
                writer.value("pairs", result.pairCount)
                writer.value("rank_correlation", result.rankCorrelation)
                writer.value("near_agreement", result.nearAgreement)
            }
            return print(writer.text)
        }
        func number(_ value: Double) -> String { fixed(Float(value), 4, 0) }
        let cosine = result.cosine.map { "\(number($0.mean)) ± \(number($0.error))" } ?? "the widths differ"
        print(
            """
            texts                            \(result.textCount)
            mean cosine                      \(cosine)
            rank correlation, random pairs   \(number(result.rankCorrelation)) of \(result.pairCount)
            correlation, ten nearest         \(number(result.nearAgreement))
            """)
    }
}

extension NumpyArray.Element {
    fileprivate var name: String {
        switch self {
        case .float32: "float32"
        case .float16: "float16"
        case .int8: "int8"
        }
    }
}

extension TeacherVectors.Survey {
    fileprivate var figures: [(String, Double)] {
        [("least norm", leastNorm), ("mean norm", meanNorm), ("greatest norm", greatestNorm), ("lean", lean)]
    }
}
