import SAEEngine

/// A comparison of two texts for people at a terminal.
struct ComparisonText {
    private let comparison: TraceComparison
    private let paint: Paint

    init(_ comparison: TraceComparison, paint: Paint) { (self.comparison, self.paint) = (comparison, paint) }

    var report: String {
        [heading, pairs, items(isFirst: true), items(isFirst: false), rules, families]
            .filter { !$0.isEmpty }.map { $0.map { $0 + "\n" }.joined() }.joined(separator: "\n")
    }

    private var heading: [String] {
        [comparison.first, comparison.second].map { paint.strong(printable(String(decoding: $0.text, as: UTF8.self))) }
            + ["similarity \(fixed(comparison.similarity, 4, 0)); every figure below is a part of it"]
    }

    private var pairs: [String] {
        let shown = comparison.pairs.prefix(12)
        let names = shown.map { "\(name(comparison.first, $0.first)) – \(name(comparison.second, $0.second))" }
        return [paint.dim("items of the first with items of the second")] + bars(zip(names, shown.map(\.product)).map { $0 })
    }

    private func items(isFirst: Bool) -> [String] {
        let trace = isFirst ? comparison.first : comparison.second
        let products = (isFirst ? comparison.firstProducts : comparison.secondProducts).items
        let shown = products.indices.sorted { abs(products[$0]) > abs(products[$1]) }.prefix(12).sorted()
        return [paint.dim("items of the \(isFirst ? "first" : "second") with the other text")]
            + bars(shown.map { (name(trace, $0), products[$0]) })
    }

    private var rules: [String] {
        let shown = comparison.strongestRules.prefix(8)
        let other = Dictionary(
            uniqueKeysWithValues: comparison.second.rules.map { ($0.rule, $0.bid) })
        return [paint.dim("context rules of the first with the other text")]
            + bars(shown.map { rule, product in ("rule \(rule)\(other[rule] == nil ? "" : ", fired in both")", product) })
    }

    private var families: [String] {
        let names = TraceComparison.familyNames
        return [paint.dim("first \\ second" + names.map { "  " + String(repeating: " ", count: 9 - $0.count) + $0 }.joined())]
            + zip(names, comparison.families).map { name, row in
                padded(name, 14) + row.map { "  " + number($0, 9) }.joined()
            }
    }

    private func bars(_ rows: [(name: String, product: Float)]) -> [String] {
        let width = rows.map { columnCount($0.name) }.max() ?? 0
        let largest = max(rows.map { abs($0.product) }.max() ?? 1, 1e-9)
        return rows.map { name, product in
            let bar = Bar.text(abs(product) / largest)
            return padded(name, width) + "  " + number(product, 7) + "  " + (product < 0 ? paint.bad(bar) : paint.good(bar))
        }
    }

    private func number(_ value: Float, _ width: Int) -> String {
        let text = signed(value, width, places: 3)
        return value < 0 ? paint.bad(text) : text
    }

    private func name(_ trace: Trace, _ item: Int) -> String { displayed(trace.items[item].text) }
}

extension TraceComparison {
    /// The first text's context rules with their products, the strongest first.
    var strongestRules: [(rule: UInt32, product: Float)] {
        zip(first.rules.map(\.rule), firstProducts.rules).map { (rule: $0, product: $1) }
            .sorted { abs($0.product) > abs($1.product) }
    }
}
