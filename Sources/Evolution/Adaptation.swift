package import Fitting
package import Models
package import RuleLibrary
import SAEEngine

/// A model fitted on to a domain, and rules found for it: what `sae adapt` does when the vectors are there. Texts of the domain,
/// and of general texts if there are any, are kept for the end, and only they tell what it was good for.
package struct Adaptation {
    package struct Inputs: Sendable {
        package var domain: TeacherPair
        /// Fitted too, so that what they say is not forgotten.
        package var general: TeacherPair?
        /// `.npy`, the projection of vectors that are wider than the model.
        package var basis: String?
        /// Of the domain's texts and vectors, for the generations.
        package var corpus: Digest
        package var teacher: Digest

        package init(domain: TeacherPair, corpus: Digest, teacher: Digest) {
            (self.domain, self.corpus, self.teacher) = (domain, corpus, teacher)
        }
    }

    package enum Event: Sendable {
        /// What is done next, for a person.
        case step(String)
        case fit(ModelFit.Event)
        case search(RuleSearch.Event)
    }

    /// Scores of the texts kept for the end: before, after the fit, and with the rules found.
    package struct Scores: Sendable {
        package let before, fitted, final: TestTexts.Score

        package var gain: (mean: Double, error: Double) { final.gain(over: before) }
    }

    package struct Result: Sendable {
        package let domain: Scores
        package let general: Scores?
        /// What the search for rules recommends, or the model's own rules if that is worse on held-out texts; of the model that was written.
        package let generation: Digest
        /// The domain gained by more than two standard errors.
        package var isBetter: Bool { domain.gain.mean > 2 * domain.gain.error }
    }

    private let inputs: Inputs
    private let parent: Model
    private let fitting: FittingOptions
    private let search: SearchOptions
    private let observe: (Event) -> Void

    /// - Parameter fitting: with a `testShare` above 0.
    package init(
        _ inputs: Inputs, parent: Model, fitting: FittingOptions, search: SearchOptions,
        observe: @escaping (Event) -> Void = { _ in }
    ) {
        precondition(fitting.testShare > 0)
        (self.inputs, self.parent, self.fitting, self.search) = (inputs, parent, fitting, search)
        self.observe = observe
    }

    /// Writes the fitted model to `output` and every generation to the library; promotes nothing.
    /// - Parameter now: milliseconds since 1970.
    package func run(name: String, output: String, library: inout Library, now: () -> Int64) throws -> Result {
        observe(.step("measuring the model to start from"))
        let pairs = [inputs.domain] + (inputs.general.map { [$0] } ?? [])
        let tests = try pairs.map { try test($0) }
        for (pair, test) in zip(pairs, tests) where test.count < 2 {
            throw FittingError.options("\(pair.texts) has too few texts to keep some for the end: give more, or a higher share")
        }
        let before = scores(tests, Engine(model: parent))
        observe(.step("fitting"))
        var fit = ModelFit.Inputs(pairs: pairs)
        (fit.parent, fit.basis, fit.acceptsOtherBasis) = (parent, inputs.basis, true)
        try ModelFit(fit, options: fitting) { observe(.fit($0)) }
            .run(name: name, checkpoint: nil, resumes: false).write(to: output)
        let base = try Model(output)
        let fitted = scores(tests, Engine(model: base))
        observe(.step("searching for rules"))
        let material = try MiningMaterial(pairs, basis: inputs.basis, engine: Engine(model: base), options: fitting)
        let found = try RuleSearch(
            base, path: output, material: material, corpus: inputs.corpus, teacher: inputs.teacher, fitting: fitting,
            options: search, observe: { observe(.search($0)) }
        ).run(in: &library, now: now)
        // Few texts can deceive a search: what it recommends has to be better on texts that it has not looked at.
        let score = { (point: SearchResult.Point) in point.worth.scores["held-out-cosine"] ?? -1 }
        let chosen = score(found.best) > score(found.start) ? found.best : found.start
        let (generation, worth) = try library.generation(chosen.digest)
        observe(.step("measuring the result"))
        let final = scores(tests, Engine(model: try generation.model(on: base, worth: worth, basePath: output)))
        let all = tests.indices.map { Scores(before: before[$0], fitted: fitted[$0], final: final[$0]) }
        return Result(domain: all[0], general: all.count > 1 ? all[1] : nil, generation: chosen.digest)
    }

    private func test(_ pair: TeacherPair) throws -> TestTexts {
        try TestTexts(pair, basis: inputs.basis, dimensions: parent.dimensions, options: fitting)
    }

    private func scores(_ tests: [TestTexts], _ engine: Engine) -> [TestTexts.Score] {
        tests.map { $0.score(engine, threads: fitting.threadCount) }
    }
}
