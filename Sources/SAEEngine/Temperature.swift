/// How readily a text's context changes the weights of its pieces (algorithm.md, section 3).
public struct Temperature: Sendable, Equatable {
    /// Nil for the model's own.
    package let degrees: Float?

    /// The temperature that the model was made for.
    public static let fitted = Temperature(degrees: nil)
    /// No rule changes anything: the plain sum of the pieces, without couplings and context rules.
    public static let infinite = Temperature(degrees: .infinity)
    /// Sharp gates, for graded similarity and retrieval: the model's own temperature.
    public static let similarity = fitted
    /// Soft gates, which keep the function words that tell intents and questions apart: for classification, clustering.
    public static let classification = Temperature(degrees: 6)

    /// Temperatures that can be asked for.
    public static let range: ClosedRange<Float> = 0.25...16

    private init(degrees: Float?) { self.degrees = degrees }

    /// Nil outside of `range`.
    public init?(_ degrees: Float) {
        guard Self.range.contains(degrees) else { return nil }
        self.degrees = degrees
    }
}
