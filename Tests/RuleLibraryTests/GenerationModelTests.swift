import Bytes
import Models
import Programs
import RuleLibrary
import Rules
import SAEEngine
import TestSupport
import Testing

@Suite struct GenerationModelTests {
    private let base: Model

    init() throws { base = try TinyModel.open() }

    private func generation(_ rules: RuleSet, _ records: [UInt8]) -> Generation {
        Generation(model: Digest(base.digest), origin: Origin(), rules: rules, records: records)
    }

    private func worth(_ vector: [Float]) -> Worth { Worth(madeMilliseconds: 0, testVector: vector) }

    private func vectors(_ model: Model) -> [Float] {
        Engine(model: model).embed(TextBatch(GeneratedText.sentences(200, seed: 5)), threads: 1).vectors
    }

    @Test func `a model's own rules as a generation give the model's vectors`() throws {
        let records = Array(TinyModel.contents.records.bytes.suffix(3 * base.tables.shape.recordBytes))
        let model = try generation(base.phrases, records).model(
            on: base, worth: worth(base.selfTest.vector), basePath: "tiny")
        #expect(vectors(model) == vectors(base))
        try Engine(model: model).selfTest()
    }

    @Test func `a generation without rules is the model without its own`() throws {
        let none = try RuleSet(vocabularyCount: base.tables.vocabularyCount, phraseCount: 0)
        let model = try generation(none, []).model(on: base, worth: worth(base.selfTest.vector), basePath: "tiny")
        // The same made another way: a file whose rules were left out.
        var contents = TinyModel.contents
        contents.phrases = none
        contents.records.removeLast(TinyModel.phrases.phraseCount)
        #expect(vectors(model) == vectors(try Model(contents)))
        #expect(vectors(model) != vectors(base))
        #expect(Engine(model: model).generation != Engine(model: base).generation)
        #expect(model.digest != base.digest && model.verifyDigest())
    }

    @Test func `a generation of another model or of other sizes is refused`() throws {
        let none = try RuleSet(vocabularyCount: base.tables.vocabularyCount, phraseCount: 0)
        let other = Generation(model: GeneratedGenerations.model, origin: Origin(), rules: none, records: [])
        #expect(
            throws: LibraryError.otherModel(
                generation: other.digest.short, model: GeneratedGenerations.model.short,
                given: "tiny (\(Digest(base.digest).short))")
        ) { try other.model(on: base, worth: worth(base.selfTest.vector), basePath: "tiny") }
        for unfit in [
            generation(try RuleSet(vocabularyCount: 5, phraseCount: 0), []),
            generation(try RuleSet(vocabularyCount: base.tables.vocabularyCount, phraseCount: 1), [0, 0, 0]),
            generation(
                try RuleSet(vocabularyCount: base.tables.vocabularyCount, phraseCount: 1),
                [UInt8](repeating: 255, count: base.tables.shape.recordBytes)),
        ] {
            #expect {
                try unfit.model(on: base, worth: worth(base.selfTest.vector), basePath: "tiny")
            } throws: { error in if case .unfit? = error as? LibraryError { true } else { false } }
        }
    }
}
