import Bytes
import Vectors

/// What makes two texts similar or different.
///
/// The cosine of two vectors is their product, and each is a sum of parts (`VectorParts`), so it is a sum too: over the
/// parts of the first, each times the second's vector; over the parts of the second, each times the first's; and over all
/// pairs of parts. A negative product makes the texts less similar.
package struct TraceComparison: Sendable {
    package let first: Trace
    package let second: Trace
    /// Cosine.
    package let similarity: Float
    /// Each part of the first text times the second's vector. All of them add up to `similarity`.
    package let firstProducts: (items: [Float], couplings: [Float], rules: [Float])
    package let secondProducts: (items: [Float], couplings: [Float], rules: [Float])
    /// Items, couplings and rules of the first (rows) times those of the second (columns). They add up to `similarity`.
    package let families: [[Float]]
    /// Items of the one times items of the other, strongest first, at most `maximumPairs`.
    package let pairs: [Pair]

    package static let maximumPairs = 64
    package static let familyNames = ["items", "couplings", "rules"]

    /// An item of each text, by index, and the product of their parts.
    package struct Pair: Sendable, Equatable {
        package var first: Int
        package var second: Int
        package var product: Float
    }

    package init(_ first: Trace, _ second: Trace) {
        precondition(first.vector.count == second.vector.count, "traces of different models")
        (self.first, self.second) = (first, second)
        similarity = dot(first.vector, second.vector)
        firstProducts = first.parts.products(with: second.vector)
        secondProducts = second.parts.products(with: first.vector)
        let (a, b) = (first.parts.families, second.parts.families)
        families = [a.items, a.couplings, a.rules].map { row in
            [b.items, b.couplings, b.rules].map { dot(row, $0) }
        }
        var pairs: [Pair] = []
        for (i, item) in first.parts.items.enumerated() {
            for (j, other) in second.parts.items.enumerated() {
                pairs.append(Pair(first: i, second: j, product: dot(item, other)))
            }
            guard pairs.count > 1 << 16 else { continue }
            pairs = Self.strongest(pairs)
        }
        self.pairs = Self.strongest(pairs)
    }

    private static func strongest(_ pairs: [Pair]) -> [Pair] {
        Array(
            pairs.sorted { (abs($0.product), $1.first, $1.second) > (abs($1.product), $0.first, $0.second) }
                .prefix(maximumPairs))
    }

    /// One line of JSON, as `docs/trace.md` describes it.
    package var json: String {
        var writer = JSONWriter()
        writer.object { writer in
            writer.value("schema", Trace.schema)
            writer.value("similarity", similarity)
            writer.array("families", families) { writer, row in writer.array(nil, row) { $0.value(nil, $1) } }
            write("first_products", firstProducts, to: &writer)
            write("second_products", secondProducts, to: &writer)
            writer.array("pairs", pairs) { writer, pair in
                writer.object { writer in
                    writer.value("first", pair.first)
                    writer.value("second", pair.second)
                    writer.value("product", pair.product)
                }
            }
            first.write("first", to: &writer)
            second.write("second", to: &writer)
        }
        return writer.text
    }

    private func write(
        _ key: String, _ products: (items: [Float], couplings: [Float], rules: [Float]), to writer: inout JSONWriter
    ) {
        writer.object(key) { writer in
            writer.array("items", products.items) { $0.value(nil, $1) }
            writer.array("couplings", products.couplings) { $0.value(nil, $1) }
            writer.array("rules", products.rules) { $0.value(nil, $1) }
        }
    }
}
