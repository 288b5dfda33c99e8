package import Models

extension Generation {
    /// The model with these rules in the place of its own.
    /// - Throws: `otherModel`, `unfit`.
    package func model(on base: Model, worth: Worth, basePath: String) throws(LibraryError) -> Model {
        guard base.digest == model.bytes else {
            throw .otherModel(generation: digest.short, model: model.short, given: "\(basePath) (\(Digest(base.digest).short))")
        }
        guard !worth.testVector.isEmpty else {
            throw .unfit(generation: digest.short, reason: "it was stored without the vector of the model's test text")
        }
        do throws(ModelError) {
            return try Model(
                base, phrases: rules, records: records, digest: digest.bytes, testVector: worth.testVector)
        } catch { throw .unfit(generation: digest.short, reason: error.summary) }
    }
}
