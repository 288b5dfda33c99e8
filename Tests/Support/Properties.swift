/// Checks a law on `count` random inputs of growing size, from 0 to `maximumSize`.
///
/// Returns nil when it holds, else a sentence with the seed and the smallest failing input found, so that a test
/// reads `#expect(forAll(...) == nil)`.
package func forAll<Input>(
    seed: UInt64, count: Int = 200, maximumSize: Int = 100,
    _ make: (_ size: Int, _ random: inout SeededRandom) -> Input,
    holds law: (Input) throws -> Bool
) -> String? {
    func failure(_ input: Input) -> String? {
        do { return try law(input) ? nil : "the law does not hold" } catch { return "threw \(error)" }
    }
    for run in 0..<count {
        let size = count == 1 ? maximumSize : maximumSize * run / (count - 1)
        var random = SeededRandom(seed: seed &+ UInt64(run))
        let input = make(size, &random)
        guard var reason = failure(input) else { continue }
        var smallest = input
        for smaller in 0..<size {
            var random = SeededRandom(seed: seed &+ UInt64(run))
            let candidate = make(smaller, &random)
            guard let found = failure(candidate) else { continue }
            (smallest, reason) = (candidate, found)
            break
        }
        return "seed \(seed), run \(run): \(reason) for \(smallest)"
    }
    return nil
}
