import SAEEngine

/// Items as blocks in lines of text, with arcs for what passes between neighbours: SVG.
struct TracePicture {
    private let trace: Trace
    /// Of the page: all lengths are in these units.
    private static let (width, gap) = (1060.0, 6.0)
    /// Of a character in a name.
    private static let column = 8.4
    private static let blockHeight = 84.0
    /// Room for arcs, where there can be any.
    private var above: Double { trace.items.count > 1 ? 44 : 16 }
    private var below: Double { trace.items.count > 1 ? 62 : 24 }
    /// Left edge, width and line of each item.
    private let places: [(x: Double, width: Double, line: Int)]
    private let largest: Float

    init(_ trace: Trace) {
        self.trace = trace
        var (x, line) = (0.0, 0)
        places = trace.items.map { item in
            let own = min(Double(max(2, columnCount(displayed(item.text)))) * Self.column + 10, Self.width)
            if x > 0, x + own > Self.width { (x, line) = (0, line + 1) }
            defer { x += own + Self.gap }
            return (x, own, line)
        }
        largest = max(1.25, trace.items.map(\.weight).max() ?? 1)
    }

    var svg: String {
        let lines = (places.last?.line ?? 0) + 1
        let used = lines > 1 ? Self.width : max(200, places.last.map { $0.x + $0.width } ?? 0)
        let height = Double(lines) * lineHeight
        let rules = (0..<lines).map { line in
            let unit = rounded(base(line) - Double(1 / largest) * Self.blockHeight)
            let end = places.last { $0.line == line }.map { $0.x + $0.width } ?? used
            return """
                <line x1="0" x2="\(rounded(end))" y1="\(base(line))" y2="\(base(line))" class="base"/>\
                <line x1="0" x2="\(rounded(end))" y1="\(unit)" y2="\(unit)" class="unit"/>
                """
        }
        // A short text is drawn larger; on a narrow screen a long one is scrolled, rather than too small to read.
        let size = "style=\"max-width:\(rounded(min(Self.width, used * 1.7)))px;min-width:\(rounded(used * 0.7))px\""
        return """
            <svg viewBox="0 -2 \(rounded(used)) \(rounded(height + 2))" \(size) role="img" aria-label="weights of the items">
            \(rules.joined())\(trace.items.indices.map(block).joined())\(couplings)\(neighbours)</svg>
            """
    }

    private var lineHeight: Double { above + Self.blockHeight + below }
    private func base(_ line: Int) -> Double { Double(line) * lineHeight + above + Self.blockHeight }

    private func height(of item: Int) -> Double {
        max(1, Double(trace.items[item].weight / largest) * Self.blockHeight)
    }

    private func block(_ index: Int) -> String {
        let (item, place) = (trace.items[index], places[index])
        let height = height(of: index)
        let most = trace.items.map { abs($0.share) }.max() ?? 1
        let ink = 0.22 + 0.78 * Double(max(0, item.share) / max(most, 1e-9))
        let name = displayed(item.text)
        let room = min(Double(max(1, columnCount(name))) * Self.column, place.width - 6)
        let middle = rounded(place.x + place.width / 2)
        let title =
            "\(name): weight \(fixed(item.weight, 2, 0)), share \(signed(item.share * 100, 0, places: 1)) %; own "
            + "\(signed(item.logWeight.bias, 0)), context \(signed(item.logWeight.context, 0)), neighbours "
            + signed(item.logWeight.neighbours.reduce(0, +), 0)
        return """
            <g><title>\(escaped(title))</title><rect x="\(rounded(place.x))" y="\(rounded(base(place.line) - height))" \
            width="\(rounded(place.width))" height="\(rounded(height))" rx="4" class="block" style="opacity:\(rounded(ink))"/>\
            <text x="\(middle)" y="\(base(place.line) + 17)" font-size="13.5" text-anchor="middle" \
            textLength="\(rounded(room))" lengthAdjust="spacingAndGlyphs"\(item.isPhrase ? " font-weight=\"700\"" : "")>\
            \(escaped(name))</text>\
            <text x="\(middle)" y="\(rounded(base(place.line) - height - 4))" font-size="9.5" text-anchor="middle" \
            class="value">\(fixed(item.weight, 2, 0))</text></g>
            """
    }

    /// The strongest third, at most 60, above the blocks.
    private var couplings: String {
        let strongest = trace.couplings.sorted { abs($0.share) > abs($1.share) }
        guard let most = strongest.first.map({ abs($0.share) }), most > 0 else { return "" }
        return strongest.prefix(min(60, max(3, strongest.count / 3))).map { coupling in
            arc(
                coupling.left, coupling.right, up: true, strength: Double(abs(coupling.share) / most),
                isAlong: coupling.share >= 0)
        }.joined()
    }

    /// Influences on log-weights of a fifth of the largest, or more, below the names.
    private var neighbours: String {
        let all = trace.items.enumerated().flatMap { index, item in
            zip([-2, -1, 1, 2], item.logWeight.neighbours).map { (from: index + $0, to: index, amount: $1) }
        }.filter { trace.items.indices.contains($0.from) }
        guard let most = all.map({ abs($0.amount) }).max(), most > 0 else { return "" }
        return all.filter { abs($0.amount) >= most / 5 }.map { influence in
            arc(
                influence.from, influence.to, up: false, strength: Double(abs(influence.amount) / most),
                isAlong: influence.amount >= 0)
        }.joined()
    }

    /// From above or below the middle of one item to that of another on the same line; where a line breaks between them, none. Below,
    /// an arrow's dot stands at the end.
    private func arc(_ from: Int, _ to: Int, up: Bool, strength: Double, isAlong: Bool) -> String {
        let (a, b) = (places[from], places[to])
        guard a.line == b.line else { return "" }
        let shift = from < to ? 4.0 : -4.0
        let (x1, x2) = (a.x + a.width / 2 + shift, b.x + b.width / 2 - shift)
        let y = up ? rounded(base(a.line) - max(height(of: from), height(of: to)) - 15) : base(a.line) + 24
        let reach = (abs(from - to) == 1 ? 20.0 : 34.0) * (up ? -1 : 1)
        let thickness = rounded(0.8 + 2.6 * strength)
        let kind = isAlong ? "along" : "away"
        let curve = "M\(rounded(x1)) \(y) Q\(rounded((x1 + x2) / 2)) \(y + reach * 1.6) \(rounded(x2)) \(y)"
        let dot =
            up
            ? "" : "<circle cx=\"\(rounded(x2))\" cy=\"\(y)\" r=\"\(rounded(1.6 + strength * 1.4))\" style=\"fill:var(--\(kind))\"/>"
        return """
            <path d="\(curve)" class="\(kind)" stroke-width="\(thickness)" style="opacity:\(rounded(0.3 + 0.6 * strength))"/>\(dot)
            """
    }
}
