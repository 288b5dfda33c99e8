import Evolution
import RuleLibrary
import Rules

/// A search as one page of HTML that needs nothing else: what was found, how, and what it is worth.
struct SearchPage {
    let modelName: String
    let options: SearchOptions
    let result: SearchResult
    let report: SearchReport
    /// Forward selection from the same candidates, if it was run beside.
    let control: SearchResult?
    /// The text of a piece, as the tokenizer writes it.
    let pieceText: (UInt32) -> String

    private static let colours = ["#0f8b8d", "#c8553d", "#7a6fd0", "#b8860b", "#3a7d44", "#b0477f", "#4f7cac", "#8a6d5c"]

    var html: String {
        page(
            title: "Rules for \(modelName)", command: "sae evolve",
            body: [
                header, points, fitness, archive, shares, ablations, stories, lineage,
            ].joined(separator: "\n"))
    }

    private func colour(_ index: Int) -> String { Self.colours[index % Self.colours.count] }

    private func cosine(_ worth: [String: Double], _ name: String) -> String { worth[name].map { fixed(Float($0), 5, 0) } ?? "–" }

    private var header: String {
        let facts = [
            options.method.rawValue, "seed \(options.seed)", "\(result.history.count) rounds",
            "\(report.candidateCount) candidates of \(report.patternCount) patterns", "\(report.evaluationCount) rules tried",
            "\(fixed(Float(result.processorSeconds), 0, 0)) s of processors",
            "\(report.textCounts.fitting) texts propose, \(report.textCounts.deciding) decide, \(report.textCounts.heldOut) are held out",
        ]
        return """
            <header><h1>Rules for \(escaped(printable(modelName)))</h1>
            <p class="facts">\(facts.map(escaped).joined(separator: " · "))</p></header>
            """
    }

    private var points: String {
        var rows = [row(result.start, "before")]
        rows += result.points.map { row($0, $0.name) }
        if let control { rows.append(row(control.best, "greedy, control")) }
        let verdict = control.map { control -> String in
            guard let mine = result.best.worth.scores["held-out-cosine"], let other = control.best.worth.scores["held-out-cosine"] else { return "" }
            let difference = mine - other
            return """
                <p class="note">Held out, \(options.method.rawValue) is \(fixed(Float(abs(difference)), 5, 0)) \
                \(difference >= 0 ? "above" : "below") forward selection, which used \
                \(fixed(Float(control.processorSeconds), 0, 0)) s of processors. Repeat with other seeds before you believe a \
                difference: the spread of seeds is the noise.</p>
                """
        }
        return """
            <section><h2>What was found</h2><p class="note">Mean cosine to the teacher, by the engine. The deciding texts chose the \
            rules, so their figure flatters; the texts held out chose nothing. Bytes and microseconds: the rules with their \
            records, and a whole text on one core.</p>
            <table><tr><th></th><th>generation</th><th class="n">rules</th><th class="n">bytes</th><th class="n">µs a text</th>\
            <th class="n">deciding</th><th class="n">held out</th></tr>\(rows.joined())</table>\(verdict ?? "")</section>
            """
    }

    private func row(_ point: SearchResult.Point, _ name: String) -> String {
        """
        <tr><td>\(escaped(name))</td><td>\(point.digest.short)</td><td class="n">\(point.ruleCount)</td>\
        <td class="n">\(point.worth.bytes)</td><td class="n">\(fixed(Float(point.worth.microseconds), 2, 0))</td>\
        <td class="n">\(cosine(point.worth.scores, "check-cosine"))</td>\
        <td class="n">\(cosine(point.worth.scores, "held-out-cosine"))</td></tr>
        """
    }

    private struct Line {
        let name: String
        let colour: String
        let isDashed: Bool
        let values: [(x: Double, y: Double)]
    }

    /// The best of each island, and of forward selection, over the number of rules tried.
    private var fitness: String {
        let islands = result.history.first?.islandCosines.count ?? 0
        var lines = (0..<islands).map { island in
            Line(
                name: islands == 1 ? options.method.rawValue : "island \(island + 1)", colour: colour(island), isDashed: false,
                values: result.history.map { (Double($0.evaluationCount), $0.islandCosines[island]) })
        }
        if let control {
            lines.append(
                Line(
                    name: "greedy", colour: "var(--soft)", isDashed: true,
                    values: control.history.map { (Double($0.evaluationCount), $0.championCosine) }))
        }
        let all = lines.flatMap(\.values)
        guard let right = all.map(\.x).max(), let low = all.map(\.y).min(), let high = all.map(\.y).max(), right > 0, high > low else { return "" }
        let (left, top, width, height) = (64.0, 12.0, 800.0, 260.0)
        func point(_ x: Double, _ y: Double) -> String {
            "\(rounded(left + x / right * width)),\(rounded(top + (high - y) / (high - low) * height))"
        }
        let grid = (0...4).map { step -> String in
            let y = low + (high - low) * Double(step) / 4
            let at = rounded(top + (high - y) / (high - low) * height)
            return """
                <line x1="\(left)" x2="\(left + width)" y1="\(at)" y2="\(at)" class="base"/>\
                <text x="\(left - 6)" y="\(at + 3)" text-anchor="end" class="tick">\(fixed(Float(y), 5, 0))</text>
                """
        }
        let refits = result.history.filter(\.isRefitted).map { round in
            let x = rounded(left + Double(round.evaluationCount) / right * width)
            return "<line x1=\"\(x)\" x2=\"\(x)\" y1=\"\(top)\" y2=\"\(top + height)\" class=\"unit\"/>"
        }
        let paths = lines.map { line in
            """
            <polyline points="\(line.values.map { point($0.x, $0.y) }.joined(separator: " "))" class="lines" \
            style="stroke:\(line.colour)\(line.isDashed ? ";stroke-dasharray:5 4" : "")"/>
            """
        }
        let keys = lines.map { "<span class=\"pair\"><i class=\"key\" style=\"background:\($0.colour)\"></i>\(escaped($0.name))</span>" }
        return """
            <section><h2>Fitness over time</h2><p class="note">Mean cosine of the deciding texts, as the search estimates it, of the best \
            rule set of each island, over the number of rules tried. Dotted: refits, when vectors and estimates are made anew.</p>
            <svg viewBox="0 0 880 304" class="wide" role="img" aria-label="fitness by island">\(grid.joined())\(refits.joined())\(paths.joined())\
            <text x="\(left + width)" y="\(top + height + 20)" text-anchor="end" class="tick">\(Int(right)) rules tried</text></svg>
            <p>\(keys.joined(separator: " "))</p></section>
            """
    }

    private var archive: String {
        let cells = report.cells
        guard let low = cells.map(\.cosine).min(), let high = cells.map(\.cosine).max(), let first = cells.map(\.row).min(),
            let last = cells.map(\.row).max(), let most = cells.map(\.column).max()
        else { return "" }
        let (left, cellWidth, cellHeight) = (90.0, min(44.0, 760 / Double(most + 1)), 24.0)
        let rects = cells.map { cell in
            let share = high > low ? (cell.cosine - low) / (high - low) : 1
            let (x, y) = (left + Double(cell.column) * cellWidth, Double(cell.row - first) * cellHeight)
            return """
                <rect x="\(rounded(x))" y="\(rounded(y))" width="\(rounded(cellWidth - 2))" height="\(cellHeight - 2)" rx="3" \
                class="block" style="opacity:\(rounded(0.12 + 0.88 * share))"><title>\(cell.ruleCount) rules, \(cell.byteCount) bytes, \
                \(fixed(Float(cell.microseconds), 2, 0)) µs: \(fixed(Float(cell.cosine), 5, 0))</title></rect>
                """
        }
        let sizes = (first...last).map { row in
            let bytes = 16_384 << row
            let name = bytes < 1 << 20 ? "\(bytes >> 10) KB" : "\(bytes >> 20) MB"
            return "<text x=\"\(left - 8)\" y=\"\(Double(row - first) * cellHeight + 15)\" text-anchor=\"end\" class=\"tick\">≤ \(name)</text>"
        }
        let bottom = Double(last - first + 1) * cellHeight
        let times = stride(from: 0, through: most, by: max(1, (most + 8) / 8)).map { column in
            let time = SearchReport.microseconds(column: column)
            return """
                <text x="\(rounded(left + Double(column) * cellWidth))" y="\(bottom + 14)" class="tick">\
                +\(fixed(Float(time), 2, 0)) µs</text>
                """
        }
        return """
            <section><h2>Archive</h2><p class="note">The best rule set of each size (down) and estimated time (across): the fuller the colour, \
            the higher its cosine, from \(fixed(Float(low), 5, 0)) to \(fixed(Float(high), 5, 0)). Point at a cell for its figures.</p>
            <svg viewBox="0 0 870 \(bottom + 20)" class="wide" role="img" aria-label="archive">\(rects.joined())\(sizes.joined())\(times.joined())</svg></section>
            """
    }

    private var shares: String {
        let total = max(1, report.families.reduce(0) { $0 + $1.ruleCount })
        let bars = report.families.enumerated().map {
            "<i style=\"background:\(colour($0));width:\(rounded(100 * Double($1.ruleCount) / Double(total)))%\"></i>"
        }
        let rows = report.families.enumerated().map { index, family in
            """
            <tr><td><i class="key" style="background:\(colour(index))"></i>\(escaped(family.name))</td><td class="n">\(family.ruleCount)</td>\
            <td class="n">\(family.byteCount)</td><td class="n">\(fixed(Float(family.editsPerText), 3, 0))</td></tr>
            """
        }
        return """
            <section><h2>Families</h2><div class="share">\(bars.joined())</div>
            <table><tr><th>family</th><th class="n">rules</th><th class="n">bytes</th><th class="n">uses a text</th></tr>\
            \(rows.joined())</table></section>
            """
    }

    private var ablations: String {
        guard let whole = report.ablations.first else { return "" }
        let rows = report.ablations.map { ablation in
            let loss = ablation.heldOutCosine - whole.heldOutCosine
            return """
                <tr><td>\(escaped(ablation.name))</td><td class="n">\(ablation.ruleCount)</td>\
                <td class="n">\(fixed(Float(ablation.checkCosine), 5, 0))</td><td class="n">\(fixed(Float(ablation.heldOutCosine), 5, 0))</td>\
                <td class="n \(loss < 0 ? "down" : "up")">\(signed(Float(loss), 0, places: 5))</td></tr>
                """
        }
        return """
            <section><h2>Ablations</h2><p class="note">The best rule set with something taken away, by the engine.</p>
            <table><tr><th></th><th class="n">rules</th><th class="n">deciding</th><th class="n">held out</th><th class="n">difference</th></tr>\
            \(rows.joined())</table></section>
            """
    }

    private var stories: String {
        let blocks = report.stories.map { story in
            let rows = story.sentences.map { sentence in
                """
                <tr><td class="said">\(escaped(printable(sentence.text)))</td><td class="n">\(fixed(Float(sentence.before), 4, 0))</td>\
                <td class="n \(sentence.after >= sentence.before ? "up" : "down")">\(fixed(Float(sentence.after), 4, 0))</td></tr>
                """
            }
            return """
                <div class="story"><b>\(escaped(text(story.pattern)))</b> <span class="facts">\(escaped(story.family)), \(story.useCount) texts, \
                mean gain \(signed(Float(story.gain), 0, places: 5))</span>
                <table><tr><th>text</th><th class="n">before</th><th class="n">after</th></tr>\(rows.joined())</table></div>
                """
        }
        return """
            <section><h2>The rules that matter most</h2><p class="note">Sentences of the deciding texts: cosine to the teacher without the rule, \
            and with it. Those that gain most, and at the end the one that gains least.</p>\(blocks.joined(separator: "\n"))</section>
            """
    }

    /// “not … good”, with classes in braces.
    private func text(_ pattern: Pattern) -> String {
        func text(_ element: PatternElement) -> String {
            switch element {
            case .record(let id): return displayed(pieceText(id))
            case .pieceClass(let index):
                let members = report.classes[index].members
                return "{" + members.prefix(8).map { displayed(pieceText($0)) }.joined(separator: ", ") + (members.count > 8 ? ", …" : "") + "}"
            }
        }
        switch pattern {
        case .sequence(let elements, let gaps):
            var result = text(elements[0])
            for (element, gap) in zip(elements.dropFirst(), gaps) {
                // A piece inside a word joins the one before.
                let isInside = if case .record(let id) = element { !pieceText(id).hasPrefix("\u{2581}") } else { false }
                result += (gap > 0 ? " … " : isInside ? "" : " ") + text(element)
            }
            return result
        case .trigger(let element, near: let index, let reach):
            return "\(text(element)) within \(reach) of \(text(.pieceClass(index)))"
        }
    }

    private var lineage: String {
        guard !report.lineage.isEmpty else { return "" }
        let rows = report.lineage.reversed().map { ancestor in
            """
            <tr><td class="n">\(ancestor.number)</td><td>\(escaped(ancestor.operation))</td><td class="n">\(ancestor.round)</td>\
            <td class="n">\(ancestor.island + 1)</td><td>\(ancestor.parents.map(String.init).joined(separator: ", "))</td>\
            <td class="n">\(ancestor.ruleCount)</td><td class="n">\(fixed(Float(ancestor.cosine), 5, 0))</td></tr>
            """
        }
        return """
            <section><h2>Lineage of the winner</h2><p class="note">\(report.lineage.count) ancestors by first parents, the youngest first; cosines \
            as they were estimated then.</p>
            <details><summary>Show them</summary><table><tr><th class="n">number</th><th>made by</th><th class="n">round</th><th class="n">island</th>\
            <th>parents</th><th class="n">rules</th><th class="n">cosine</th></tr>\(rows.joined())</table></details></section>
            """
    }
}
