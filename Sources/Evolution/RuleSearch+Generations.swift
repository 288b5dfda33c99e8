import Fitting
import Glibc
package import Models
import Programs
package import RuleLibrary
import Rules
import SAEEngine
import Vectors

/// What a search has found.
package struct SearchResult: Sendable {
    /// A generation in the library that is a point of the archive.
    package struct Point: Sendable {
        package let name: String
        package let digest: Digest
        package let ruleCount: Int
        package let worth: Worth
    }

    package let start: Point
    /// What the search recommends: the best after the prices of bytes and time.
    package let best: Point
    /// `best` among them: small, default, large.
    package let points: [Point]
    package let history: [SearchRound]
    package let processorSeconds: Double
    /// If one was asked for.
    package let report: SearchReport?
}

/// How rule sets become generations.
extension RuleSearch {
    /// The model's own rules.
    var startGeneration: Generation {
        Generation(
            model: Digest(base.digest), origin: origin("the model's own rules", parents: []), rules: base.phrases,
            records: ownRecords)
    }

    private var ownRecords: [UInt8] {
        let (records, pieceCount) = (base.tables.records, base.tables.vocabularyCount)
        return Array(records.bytes(ofFirst: records.count).dropFirst(pieceCount * records.shape.recordBytes))
    }

    private func origin(_ text: String, parents: [Digest]) -> Origin {
        var origin = Origin()
        origin.parents = parents
        origin.options = text
        (origin.seed, origin.corpus, origin.teacher) = (options.seed, corpus, teacher)
        return origin
    }

    /// The model's own rules and those of a genome, each with a record that has no part but its meaning.
    func generation(_ genome: Genome, _ run: Run, name: String, parents: [Digest]) throws -> Generation {
        let (pool, own, shape) = (run.state.pool, base.phrases, base.tables.shape)
        var classes = own.classes
        var numbers = Dictionary(uniqueKeysWithValues: classes.enumerated().map { ($1.name, $0) })
        func number(_ poolClass: Int) -> Int {
            let found = pool.set.classes[poolClass]
            if let known = numbers[found.name] { return known }
            numbers[found.name] = classes.count
            classes.append(found)
            return classes.count - 1
        }
        var records = PackedRecords(shape: shape)
        var rules = Array(own.rules)
        let members = genome.candidates
        let scale = bidScale(members, genome, pool)
        let others = [Float](repeating: 0, count: shape.recordElementCount - shape.dimensions)
        for candidate in members {
            let factor = genome.factor(pool.families[candidate])
            var rule = pool.set.rules[candidate].withClasses(number)
            rule.phrase = UInt32(own.phraseCount + records.count)
            rule.worth = pool.bid(candidate, genome.bidding) * scale
            rules.append(rule)
            records.append(pool.vector(candidate).map { $0 * factor } + others, bias: 0)
        }
        let set = try RuleSet(
            vocabularyCount: own.vocabularyCount, phraseCount: own.phraseCount + records.count,
            contextDimensions: own.contextDimensions, classes: classes, rules: rules)
        return Generation(
            model: Digest(base.digest),
            origin: origin("\(options.summary), held out \(fitting.heldOutShare)\(fitting.excluded.summary), \(name)", parents: parents), rules: set,
            records: ownRecords + records.bytes)
    }

    /// What bids are multiplied by, so that the model's own rules bid more than any new one.
    private func bidScale(_ members: [Int], _ genome: Genome, _ pool: CandidatePool) -> Float {
        guard let own = base.phrases.rules.lazy.map(\.worth).filter({ $0 > 0 }).min(),
            let most = members.lazy.map({ pool.bid($0, genome.bidding) }).max(), most > 0
        else { return 1 }
        return own / (2 * most)
    }

    func engine(_ generation: Generation) throws -> Engine {
        let zero = [Float](repeating: 0, count: base.dimensions)
        return Engine(
            model: try generation.model(on: base, worth: Worth(madeMilliseconds: 0, testVector: zero), basePath: basePath))
    }

    func texts(_ rows: [UInt32]) -> TextBatch {
        var batch = TextBatch()
        for row in rows { batch.append(utf8: material.batch.bytes[material.batch.range(of: Int(row))]) }
        return batch
    }

    /// Measures a generation with the engine and stores it.
    @discardableResult
    func keep(_ generation: Generation, name: String, library: inout Library, _ now: () -> Int64) throws -> SearchResult.Point {
        let engine = try engine(generation)
        let batch = texts(Array(material.texts.heldOut.prefix(Self.reportCount)))
        var workspace = engine.makeWorkspace()
        var rows = EmbeddingBatch(dimensions: engine.dimensions)
        // The first time fills the caches.
        engine.embed(batch, using: &workspace, into: &rows)
        let start = threadNanoseconds()
        engine.embed(batch, using: &workspace, into: &rows)
        let nanoseconds = Double(threadNanoseconds() - start)
        let worth = Worth(
            madeMilliseconds: now(),
            scores: scores(engine),
            bytes: generation.byteCount, microseconds: nanoseconds / 1_000 / Double(max(1, batch.count)),
            testVector: try generation.testVector(on: base, path: basePath))
        try library.add(generation, worth: worth)
        let ruleCount = generation.rules.rules.count
        observe(.generation(generation.digest, name: name, ruleCount: ruleCount, worth: worth))
        return SearchResult.Point(name: name, digest: generation.digest, ruleCount: ruleCount, worth: worth)
    }

    /// Texts that a generation is measured on: the error of a mean cosine is below 0.001 with so many.
    private static let reportCount = 16_384

    /// Mean cosines to the teacher by the engine: of the deciding texts, and of those held out.
    func scores(_ engine: Engine) -> [String: Double] {
        let deciding = material.texts.fitted.enumerated().filter { $0.offset % 3 == 0 }.prefix(Self.reportCount).map(\.element)
        let heldOut = Array(material.texts.heldOut.prefix(Self.reportCount))
        return [
            "check-cosine": meanCosine(engine.embed(texts(deciding), threads: options.threadCount), deciding),
            "held-out-cosine": meanCosine(engine.embed(texts(heldOut), threads: options.threadCount), heldOut),
        ]
    }

    private func meanCosine(_ batch: EmbeddingBatch, _ rows: [UInt32]) -> Double {
        let sum = rows.enumerated().reduce(0.0) { sum, item in
            sum + Double(dot(Array(batch.vector(item.offset)), material.texts.target(Int(item.element))))
        }
        return sum / Double(max(1, rows.count))
    }

    /// Stores what the search ends with.
    func finish(
        _ run: Run, begin: Generation, processorSeconds: Double, reports: Bool, library: inout Library, _ now: () -> Int64
    ) throws -> SearchResult {
        let start = try keep(begin, name: "start", library: &library, now)
        let parents = [run.generation]
        let best = try keep(
            try generation(run.champion.genome, run, name: "default", parents: parents), name: "default", library: &library, now)
        let entries = run.archive.ordered.map(\.entry)
        let first = run.state.individual(Genome(candidateCount: run.state.pool.count), foldCount: 1).cosine()
        var points = [best]
        if let most = entries.max(by: { $0.cosine < $1.cosine }) {
            // Half of the gain in as few bytes as possible.
            let half = (first + most.cosine) / 2
            let small = entries.filter { $0.cosine >= half }.min { ($0.byteCount, $1.cosine) < ($1.byteCount, $0.cosine) }
            for (name, entry) in [("small", small), ("large", most)] {
                guard let entry else { continue }
                let found = try generation(entry.genome, run, name: name, parents: parents)
                points.append(try keep(found, name: name, library: &library, now))
            }
        }
        return SearchResult(
            start: start, best: best, points: points, history: run.history, processorSeconds: processorSeconds,
            report: reports ? try report(run) : nil)
    }
}

extension Generation {
    /// What the model with these rules gives its own test text.
    package func testVector(on base: Model, path: String) throws(LibraryError) -> [Float] {
        let zero = [Float](repeating: 0, count: base.dimensions)
        let model = try model(on: base, worth: Worth(madeMilliseconds: 0, testVector: zero), basePath: path)
        return Array(Engine(model: model).embed(TextBatch([model.selfTest.text]), threads: 1).vector(0))
    }
}

/// What this thread has computed so far: other work on the machine counts less in it than in the time of day.
private func threadNanoseconds() -> Int64 { nanoseconds(CLOCK_THREAD_CPUTIME_ID) }

/// What all threads of the process have computed so far.
func processSeconds() -> Double { Double(nanoseconds(CLOCK_PROCESS_CPUTIME_ID)) / 1e9 }

private func nanoseconds(_ clock: clockid_t) -> Int64 {
    var time = timespec()
    clock_gettime(clock, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}
