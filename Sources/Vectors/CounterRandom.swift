/// Random numbers that are a function of a key and a counter: SplitMix64 (Steele, Lea, Flood 2014). The same key
/// gives the same sequence everywhere.
package struct CounterRandom: RandomNumberGenerator, Sendable {
    private var state: UInt64

    /// A sequence of its own for every combination of keys.
    package init(_ keys: UInt64...) {
        state = 0x5AE
        for key in keys { state = next() ^ key }
    }

    /// The sequence of the same keys and one more. Allocates nothing.
    package func derived(_ key: UInt64) -> CounterRandom {
        var result = self
        result.state = result.next() ^ key
        return result
    }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// Uniform in 0 ..< 1, with the 24 bits that a float holds.
    package mutating func unitFloat() -> Float { Float(next() >> 40) * 0x1p-24 }
}

/// Fisher–Yates with a fixed use of the generator (the standard library's own shuffle may change its order).
package func shuffle(_ values: inout [UInt32], using random: inout CounterRandom) {
    guard values.count > 1 else { return }
    for last in stride(from: values.count - 1, to: 0, by: -1) {
        let chosen = Int(random.next().multipliedFullWidth(by: UInt64(last + 1)).high)
        values.swapAt(last, chosen)
    }
}
