import SAEEngine

/// A comparison of two texts as one page of HTML that needs nothing else.
struct ComparisonPage {
    private let comparison: TraceComparison
    private let maximumItems = 36

    init(_ comparison: TraceComparison) { self.comparison = comparison }

    var html: String {
        let texts = [comparison.first, comparison.second].map { String(decoding: $0.text, as: UTF8.self) }
        let headings = texts.map { "<h1\($0.count > 160 ? " class=\"long\"" : "")>\(escaped(printable($0)))</h1>" }
        let body = """
            <header>\(headings.joined())<p class="facts">similarity <b>\(fixed(comparison.similarity, 4, 0))</b> · \
            \(escaped(printable(comparison.first.modelName)))</p></header>
            <section><h2>What makes them similar</h2><p class="note">The similarity is a sum. A bar is what an item gives to it, \
            by its product with the whole other text; a line joins two items by the product of the two. Teal makes the texts \
            more similar, red less.</p>\(picture)</section>
            <div class="columns">\(families)\(rules)</div>
            """
        return page(title: texts.joined(separator: " – "), body: body)
    }

    /// The items that give most, in the order of their text.
    private func shown(_ products: [Float]) -> [Int] {
        products.indices.sorted { abs(products[$0]) > abs(products[$1]) }.prefix(maximumItems).sorted()
    }

    private var picture: String {
        let (left, right) = (shown(comparison.firstProducts.items), shown(comparison.secondProducts.items))
        let row = 25.0
        let height = Double(max(left.count, right.count)) * row + 8
        func heights(_ items: [Int]) -> [Int: Double] {
            let top = (height - Double(items.count) * row) / 2
            return Dictionary(uniqueKeysWithValues: items.enumerated().map { ($1, top + (Double($0) + 0.5) * row) })
        }
        let (leftY, rightY) = (heights(left), heights(right))
        let most = max((comparison.firstProducts.items + comparison.secondProducts.items).map(abs).max() ?? 1, 1e-9)
        let strongest = max(abs(comparison.pairs.first?.product ?? 1), 1e-9)
        let lines = comparison.pairs.reversed().compactMap { pair -> String? in
            guard let y1 = leftY[pair.first], let y2 = rightY[pair.second] else { return nil }
            let strength = Double(abs(pair.product) / strongest)
            guard strength > 0.04 else { return nil }
            return """
                <path d="M330 \(y1) C480 \(y1) 580 \(y2) 730 \(y2)" class="\(pair.product < 0 ? "away" : "along")" \
                stroke-width="\(rounded(0.8 + 5 * strength))" style="opacity:\(rounded(0.15 + 0.7 * strength))"/>
                """
        }
        let names = left.map { comparison.first.items[$0] } + right.map { comparison.second.items[$0] }
        let room = names.map { nameWidth($0) }.max() ?? 0
        let blocks =
            left.map {
                block(comparison.first.items[$0], comparison.firstProducts.items[$0] / most, leftY[$0] ?? 0, room, isLeft: true)
            }
            + right.map {
                block(comparison.second.items[$0], comparison.secondProducts.items[$0] / most, rightY[$0] ?? 0, room, isLeft: false)
            }
        return """
            <svg viewBox="0 0 1060 \(height)" class="wide" role="img" aria-label="items and their products">\
            \(lines.joined())\(blocks.joined())</svg>
            """
    }

    /// A name beside the lines, and a bar beside the name.
    private func block(_ item: Trace.Item, _ part: Float, _ y: Double, _ room: Double, isLeft: Bool) -> String {
        let name = displayed(item.text)
        let length = rounded(Double(abs(part)) * 150)
        let (x, anchor) = isLeft ? (322.0, "end") : (738.0, "start")
        return """
            <rect x="\(rounded(isLeft ? x - room - 12 - length : x + room + 12))" y="\(y - 8)" width="\(length)" height="16" rx="3" \
            style="fill:var(--\(part < 0 ? "away" : "along"))"/>\
            <text x="\(x)" y="\(y + 5)" font-size="14" text-anchor="\(anchor)" textLength="\(rounded(nameWidth(item)))" \
            lengthAdjust="spacingAndGlyphs">\(escaped(name))</text>
            """
    }

    private func nameWidth(_ item: Trace.Item) -> Double { min(Double(columnCount(displayed(item.text))) * 8.4, 150) }

    private var families: String {
        let names = TraceComparison.familyNames
        let rows = zip(names, comparison.families).map { name, row in
            "<tr><td>\(name)</td>\(row.map { "<td class=\"n\">\(signed($0, 0, places: 3))</td>" }.joined())</tr>"
        }
        return """
            <section><h2>By family</h2><p class="note">The first text's rows with the second's columns. All nine add up to \
            \(fixed(comparison.similarity, 4, 0)).</p><table><tr><th></th>\(names.map { "<th class=\"n\">\($0)</th>" }.joined())</tr>\
            \(rows.joined())</table></section>
            """
    }

    private var rules: String {
        let shown = comparison.strongestRules.prefix(12)
        guard let largest = shown.first.map({ abs($0.product) }), largest > 0 else { return "" }
        let both = Set(comparison.second.rules.map(\.rule))
        let rows = shown.map { rule, product in
            """
            <tr><td>\(rule)</td><td class="bar"><i class="\(product < 0 ? "away" : "along")" \
            style="width:\(rounded(Double(abs(product) / largest) * 50))%;\(product < 0 ? "right" : "left"):50%"></i></td>\
            <td class="n">\(signed(product, 0, places: 3))</td><td class="causes">\(both.contains(rule) ? "both" : "the first")</td></tr>
            """
        }
        return """
            <section><h2>Context rules of the first text</h2><p class="note">What each gives to the similarity, and in which \
            texts it fired.</p><table class="rules"><tr><th>rule</th><th></th><th class="n">product</th><th>fired in</th></tr>\
            \(rows.joined())</table></section>
            """
    }
}
