package import Fitting
import Glibc
package import Models
import Programs
package import RuleLibrary
import Rules
import SAEEngine
import Vectors

/// Forward selection of rules (algorithm.md, section 11: the control that evolution is measured against). Each round mines rules
/// from what the model with the rules so far still misses, puts their phrases into the model at the scale that helps most, and
/// keeps them if texts that did not propose them gain.
///
/// A round depends on the texts, the options and the generation that it begins with, and on nothing else. So the library is
/// the checkpoint: a search that goes on from there ends with the same digest as one that was not interrupted.
package struct GreedySearch {
    package struct Options: Sendable {
        package var mining = MiningOptions()
        package var rounds = 4

        package init() {}

        /// What the result of round `number` depends on, but for the texts.
        func summary(round number: Int, heldOutShare: Int) -> String {
            "greedy, held out \(heldOutShare), minimum count \(mining.minimumCount), shrinkage \(mining.shrinkage), evidence \(mining.evidence), "
                + "significance \(mining.significance), mining rounds \(mining.rounds), rules a round \(mining.maximumRules), "
                + "round \(number)"
        }
    }

    /// What a search tells while it runs.
    package enum Event: Sendable {
        case stage(String)
        /// A generation that is in the library now, or was already.
        case generation(Digest, ruleCount: Int, worth: Worth)
        /// What a round proposed brought no more than chance does.
        case noGain(round: Int, proposedCount: Int, gain: Double, error: Double)
    }

    /// Scales of the phrases against the mean error of a unit vector: the sums that they are added to differ in length.
    private static let scales: [Float] = [0.25, 0.5, 1, 2, 4, 8, 16]
    /// Texts that decide, and that are held out, at most: the error of a mean cosine is below 0.001 with so many.
    private static let checkCount = 32_768
    private static let heldOutCount = 4_096

    private let base: Model
    private let basePath: String
    private let material: MiningMaterial
    private let corpus: Digest
    private let teacher: Digest
    private let options: Options
    private let fitting: FittingOptions
    private let observe: (Event) -> Void
    /// Mining looks at the others of the fitted texts only (`RuleMiner.mine`).
    private let checking: [UInt32]
    private let heldOut: [UInt32]

    /// - Parameters:
    ///   - material: read with an engine of `base`.
    ///   - corpus, teacher: digests of its texts and vectors.
    ///   - fitting: what `material` was read with: which texts are held out, and threads.
    package init(
        _ base: Model, path: String, material: MiningMaterial, corpus: Digest, teacher: Digest,
        fitting: FittingOptions, options: Options = Options(), observe: @escaping (Event) -> Void = { _ in }
    ) {
        self.base = base
        basePath = path
        self.material = material
        self.corpus = corpus
        self.teacher = teacher
        self.fitting = fitting
        self.options = options
        self.observe = observe
        checking = Array(material.texts.fitted.lazy.filter { $0 % 3 == 0 }.prefix(Self.checkCount))
        heldOut = Array(material.texts.heldOut.prefix(Self.heldOutCount))
    }

    /// Searches until a round gains nothing or all rounds are done; every generation goes to the library.
    /// - Parameter now: milliseconds since 1970.
    /// - Returns: the last generation; the model's own rules if no round gained.
    package func run(in library: inout Library, now: () -> Int64) throws -> Digest {
        var current = start
        if try !library.summaries().contains(where: { $0.digest == current.digest }) { try keep(current, in: &library, now) }
        for round in 1...max(1, options.rounds) {
            if let known = try child(of: current.digest, round: round, in: &library) {
                current = known.generation
                observe(.generation(current.digest, ruleCount: current.rules.rules.count, worth: known.worth))
                continue
            }
            guard let next = try self.round(round, from: current) else { break }
            current = next
            try keep(current, in: &library, now)
        }
        return current.digest
    }

    private func summary(_ round: Int) -> String { options.summary(round: round, heldOutShare: fitting.heldOutShare) }

    private func origin(_ options: String, parents: [Digest]) -> Origin {
        var origin = Origin()
        origin.parents = parents
        origin.options = options
        (origin.seed, origin.corpus, origin.teacher) = (fitting.seed, corpus, teacher)
        return origin
    }

    /// The model's own rules.
    private var start: Generation {
        let (records, pieceCount) = (base.tables.records, base.tables.vocabularyCount)
        let phrases = records.bytes(ofFirst: records.count).dropFirst(pieceCount * records.shape.recordBytes)
        return Generation(
            model: Digest(base.digest), origin: origin("the model's own rules", parents: []), rules: base.phrases,
            records: Array(phrases))
    }

    private func child(
        of parent: Digest, round: Int, in library: inout Library
    ) throws -> (generation: Generation, worth: Worth)? {
        let wanted = origin(summary(round), parents: [parent])
        guard let found = try library.summaries().first(where: { $0.origin == wanted }) else { return nil }
        return try library.generation(found.digest)
    }

    private func keep(_ generation: Generation, in library: inout Library, _ now: () -> Int64) throws {
        let engine = try engine(generation)
        let batch = texts(heldOut)
        var workspace = engine.makeWorkspace()
        var rows = EmbeddingBatch(dimensions: engine.dimensions)
        // The first time fills the caches.
        engine.embed(batch, using: &workspace, into: &rows)
        let start = processorNanoseconds()
        engine.embed(batch, using: &workspace, into: &rows)
        let nanoseconds = Double(processorNanoseconds() - start)
        let worth = Worth(
            madeMilliseconds: now(),
            scores: [
                "check-cosine": mean(cosines(engine, checking)), "held-out-cosine": mean(cosines(rows, heldOut)),
            ],
            bytes: generation.byteCount, microseconds: nanoseconds / 1_000 / Double(max(1, batch.count)),
            testVector: try generation.testVector(on: base, path: basePath))
        try library.add(generation, worth: worth)
        observe(.generation(generation.digest, ruleCount: generation.rules.rules.count, worth: worth))
    }

    /// The next generation, or nil when what is proposed gains nothing.
    private func round(_ number: Int, from current: Generation) throws -> Generation? {
        let engine = try engine(current)
        observe(.stage("round \(number): embedding \(material.batch.count) texts"))
        let vectors = engine.embed(material.batch, threads: fitting.threadCount)
        let miner = RuleMiner(
            material.texts, vectors: vectors.vectors, vocabularyCount: base.tables.vocabularyCount, options: options.mining)
        let mined = try miner.mine { observe(.stage("round \(number): \($0)")) }
        let known = Set(current.rules.rules.map(\.pattern))
        let rules = mined.rules.rules.filter { !known.contains($0.pattern) }
        guard !rules.isEmpty else {
            observe(.noGain(round: number, proposedCount: 0, gain: 0, error: 0))
            return nil
        }
        let before = cosines(engine, checking)
        // The scale with the most gain that is no chance, rather than the most gain.
        let significance = Double(options.mining.significance)
        var best: (generation: Generation, gain: Double, error: Double)?
        for scale in Self.scales {
            let candidate = try generation(
                current, adding: rules, mined.phraseVectors, scale: scale, summary(number))
            let after = cosines(try self.engine(candidate), checking)
            let (gain, error) = pairedGain(before, after)
            observe(.stage("round \(number): phrases x \(scale) gain \(gain) ± \(error)"))
            if best.map({ gain - significance * error > $0.gain - significance * $0.error }) ?? true {
                best = (candidate, gain, error)
            }
        }
        guard let best, best.gain > significance * best.error else {
            observe(.noGain(round: number, proposedCount: rules.count, gain: best?.gain ?? 0, error: best?.error ?? 0))
            return nil
        }
        return best.generation
    }

    /// `current` with more rules; row f of `vectors` is the phrase that a new rule calls f.
    private func generation(
        _ current: Generation, adding rules: [Rule], _ vectors: [Float], scale: Float, _ summary: String
    ) throws -> Generation {
        let shape = base.tables.shape
        var records = PackedRecords(shape: shape)
        var all = current.rules.rules
        let others = [Float](repeating: 0, count: shape.recordElementCount - shape.dimensions)
        for rule in rules {
            let row = Int(rule.phrase) * shape.dimensions
            var rule = rule
            rule.phrase = UInt32(current.rules.phraseCount + records.count)
            all.append(rule)
            records.append(vectors[row..<row + shape.dimensions].map { $0 * scale } + others, bias: 0)
        }
        let set = try RuleSet(
            vocabularyCount: current.rules.vocabularyCount, phraseCount: current.rules.phraseCount + records.count,
            contextDimensions: current.rules.contextDimensions, classes: current.rules.classes, rules: all)
        return Generation(
            model: current.model, origin: origin(summary, parents: [current.digest]), rules: set,
            records: current.records + records.bytes)
    }

    private func engine(_ generation: Generation) throws -> Engine {
        let zero = [Float](repeating: 0, count: base.dimensions)
        return Engine(
            model: try generation.model(
                on: base, worth: Worth(madeMilliseconds: 0, testVector: zero), basePath: basePath))
    }

    private func texts(_ rows: [UInt32]) -> TextBatch {
        var batch = TextBatch()
        for row in rows { batch.append(utf8: material.batch.bytes[material.batch.range(of: Int(row))]) }
        return batch
    }

    private func cosines(_ engine: Engine, _ rows: [UInt32]) -> [Double] {
        cosines(engine.embed(texts(rows), threads: fitting.threadCount), rows)
    }

    private func cosines(_ batch: EmbeddingBatch, _ rows: [UInt32]) -> [Double] {
        rows.enumerated().map { index, row in
            Double(zip(batch.vector(index), material.texts.target(Int(row))).reduce(Float(0)) { $0 + $1.0 * $1.1 })
        }
    }
}

private func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(max(1, values.count)) }

/// The mean of the differences, and its standard error.
private func pairedGain(_ before: [Double], _ after: [Double]) -> (gain: Double, error: Double) {
    let differences = zip(before, after).map { $1 - $0 }
    let (n, gain) = (Double(differences.count), mean(differences))
    guard n > 1 else { return (gain, .infinity) }
    let variance = differences.reduce(0) { $0 + ($1 - gain) * ($1 - gain) } / (n - 1)
    return (gain, (variance / n).squareRoot())
}

/// What this thread has computed so far: other work on the machine counts less in it than in the time of day.
private func processorNanoseconds() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}

extension Generation {
    /// What the model with these rules gives its own test text.
    package func testVector(on base: Model, path: String) throws(LibraryError) -> [Float] {
        let zero = [Float](repeating: 0, count: base.dimensions)
        let model = try model(on: base, worth: Worth(madeMilliseconds: 0, testVector: zero), basePath: path)
        return Array(Engine(model: model).embed(TextBatch([model.selfTest.text]), threads: 1).vector(0))
    }
}
