import Annealing
import Rules
import SAEEngine

/// A trace for people at a terminal.
struct TraceText {
    private let trace: Trace
    private let paint: Paint

    init(_ trace: Trace, paint: Paint) {
        (self.trace, self.paint) = (trace, paint)
    }

    var report: String {
        let sections = [heading, annealing, items, couplings, rules, path, program]
        return sections.filter { !$0.isEmpty }.map { $0.map { $0 + "\n" }.joined() }.joined(separator: "\n")
    }

    private var heading: [String] {
        let facts = [
            "model \(printable(trace.modelName))", "temperature \(trace.degrees.map { "\($0)" } ?? "infinite")",
            trace.pieces.count == 1 ? "1 piece" : "\(trace.pieces.count) pieces", "\(trace.rules.count) of \(trace.ruleCount) context rules fired",
        ]
        return [paint.strong(printable(String(decoding: trace.text, as: UTF8.self))), paint.dim(facts.joined(separator: " · "))]
    }

    private var annealing: [String] {
        guard let annealing = trace.annealing else { return [] }
        var lines = [
            paint.dim("discrete rules, stop reason \(annealing.stop.rawValue), energy \(signed(Float(annealing.energy), 0, places: 3))")
        ]
        for (number, sweep) in annealing.sweeps.enumerated() where !sweep.bids.isEmpty {
            let energy = signed(Float(sweep.energy), 0, places: 3)
            lines.append("sweep \(number + 1), temperature \(sweep.temperature), energy after it \(energy)")
            for bid in sweep.bids {
                let fate = bid.fate == .committed ? paint.good(padded("committed", 9)) : paint.dim(padded(bid.fate.rawValue, 9))
                lines.append(
                    "  \(fate)  bid \(signed(Float(bid.strength), 6, places: 3))  "
                        + (bid.isWithdrawal ? "withdraw " : "") + description(of: bid.match, annealing))
            }
        }
        guard let exact = annealing.exact else { return lines }
        let reached = annealing.energy <= exact.energy ? paint.good("reached") : paint.bad("missed")
        let least = exact.saturation.isComplete ? "least energy" : "least energy known"
        lines.append("\(least) \(signed(Float(exact.energy), 0, places: 3)) \(reached)")
        for (name, optimum) in [("interval programme", exact.interval), ("equality saturation", exact.saturation)] {
            let edits = optimum.edits.map { description(of: $0, annealing) }.joined(separator: "; ")
            lines.append(
                "  \(padded(name, 19))  \(signed(Float(optimum.energy.value), 6, places: 3))"
                    + (optimum.isComplete ? "  " : "  (cut short)  ") + edits)
        }
        return lines
    }

    private func description(of match: RuleMatch, _ annealing: Trace.Annealing) -> String {
        let text = displayed(trace.pieces[Int(match.first)...Int(match.last)].map(\.text).joined())
        return "\(annealing.edit[match.rule]?.kind == .replace ? "replace" : "add") phrase of “\(text)”, rule \(match.rule)"
    }

    private var items: [String] {
        let shown = strongest(trace.items, most: 60) { $0.weight }
        let names = shown.map { name(of: $0) }
        let width = max(4, names.map(columnCount).max() ?? 0)
        let largest = trace.items.map(\.weight).max() ?? 1
        var lines = [
            paint.dim(
                padded("item", width) + "  weight  " + padded("", Bar.width) + "   share     own  context  neighbours")
        ]
        for (index, name) in zip(shown, names) {
            let item = trace.items[index]
            let bar = padded(Bar.text(item.weight / largest), Bar.width)
            let log = item.logWeight
            let parts = [signed(log.bias, 6), signed(log.context, 7), signed(log.neighbours.reduce(0, +), 10)]
            lines.append(
                paint.strong(padded(name, width)) + "  \(fixed(item.weight, 2, 6))  "
                    + (item.weight < 1 ? paint.dim(bar) : paint.good(bar)) + "  " + share(item.share) + "  "
                    + paint.dim(parts.joined(separator: "  ")))
        }
        return lines + left(shown.count, of: trace.items.count, "lighter items")
    }

    private var couplings: [String] {
        let shown = strongest(trace.couplings, most: 6) { abs($0.share) }
        guard !shown.isEmpty else { return [] }
        let names = shown.map { index in
            let coupling = trace.couplings[index]
            return name(of: coupling.left) + (coupling.offset == 1 ? " → " : " → · → ") + name(of: coupling.right)
        }
        let width = names.map(columnCount).max() ?? 0
        let lines = zip(shown, names).map { index, name in
            padded(name, width) + "  " + share(trace.couplings[index].share) + "  "
                + paint.dim("length \(fixed(trace.couplings[index].strength, 3, 5))")
        }
        return [paint.dim("couplings, \(share(trace.couplings.map(\.share)))")] + lines
            + left(shown.count, of: trace.couplings.count, "weaker couplings")
    }

    private var rules: [String] {
        let shown = strongest(trace.rules, most: 10) { abs($0.share) }
        guard !shown.isEmpty else { return [] }
        let lines = shown.map { index in
            let rule = trace.rules[index]
            let causes = rule.causes.map { name(of: $0.item) }.joined(separator: ", ")
            return padded("rule \(rule.rule)", 10) + "  " + share(rule.share) + "  "
                + paint.dim("bid \(fixed(rule.bid, 3, 5))  cosine \(signed(rule.cosine, 5))") + "  from \(causes.isEmpty ? "its threshold" : causes)"
        }
        return [paint.dim("context rules, \(share(trace.rules.map(\.share)))")] + lines
            + left(shown.count, of: trace.rules.count, "weaker rules")
    }

    private var path: [String] {
        [paint.dim("after        cosine to the vector")]
            + trace.steps.map { step in
                padded(step.name.rawValue, 11) + "  \(fixed(step.cosine, 4, 6))  "
                    + paint.good(Bar.text(max(0, step.cosine)))
            }
    }

    private var program: [String] {
        ["the program has \(trace.program.count) words: --forth prints it, sae forth run gives the same vector"]
    }

    private func name(of item: Int) -> String { displayed(trace.items[item].text) }

    /// Indices of the `most` elements of greatest worth, in their own order when all are shown, else in that of worth;
    /// items always in the order of the text.
    private func strongest<Element>(_ all: [Element], most: Int, by worth: (Element) -> Float) -> [Int] {
        let ranked = all.indices.sorted { (worth(all[$0]), $1) > (worth(all[$1]), $0) }.prefix(most)
        return Element.self == Trace.Item.self ? ranked.sorted() : Array(ranked)
    }

    private func left(_ shown: Int, of count: Int, _ what: String) -> [String] {
        shown < count ? [paint.dim("and \(count - shown) \(what): see --json")] : []
    }

    private func share(_ value: Float) -> String {
        let text = signed(value * 100, 6, places: 1) + "%"
        return value < 0 ? paint.bad(text) : text
    }

    private func share(_ values: [Float]) -> String { "\(fixed(values.reduce(0, +) * 100, 1, 0))% of the vector" }
}

/// A bar of block elements, to an eighth of a column.
enum Bar {
    static let width = 24

    static func text(_ part: Float) -> String {
        let eighths = Int((min(max(part, 0), 1) * Float(width * 8)).rounded())
        let ends = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"]
        return String(repeating: "█", count: eighths / 8) + ends[eighths % 8]
    }
}

/// Colours, where there are any.
struct Paint {
    let isOn: Bool

    func strong(_ text: String) -> String { painted(text, "1") }
    func dim(_ text: String) -> String { painted(text, "2") }
    func good(_ text: String) -> String { painted(text, "36") }
    func bad(_ text: String) -> String { painted(text, "31") }

    private func painted(_ text: String, _ code: String) -> String { isOn ? "\u{1B}[\(code)m\(text)\u{1B}[0m" : text }
}
