import Annealing
import Rules
import SAEEngine

/// A trace as one page of HTML that needs nothing else: picture, rules, path, program.
struct TracePage {
    private let trace: Trace
    private let maximumRules = 14

    init(_ trace: Trace) { self.trace = trace }

    var html: String {
        page(
            title: String(decoding: trace.text, as: UTF8.self),
            body: [header, picture, annealing, columns, program].joined(separator: "\n"))
    }

    private var header: String {
        let facts = [
            trace.modelName, "temperature \(trace.degrees.map { "\($0)" } ?? "infinite")",
            trace.pieces.count == 1 ? "1 piece" : "\(trace.pieces.count) pieces",
            "\(trace.rules.count) of \(trace.ruleCount) context rules fired",
        ]
        let text = printable(String(decoding: trace.text, as: UTF8.self))
        return """
            <header><h1\(text.count > 160 ? " class=\"long\"" : "")>\(escaped(text))</h1>
            <p class="facts">\(facts.map(escaped).joined(separator: " · "))</p></header>
            """
    }

    private var picture: String {
        """
        <section><h2>Pieces and their weights</h2>
        <p class="note">A block is as tall as its item weighs; the dashed line is weight 1, and the stronger its colour, the more \
        it gives to the vector. Arcs above: the strongest couplings, teal where they add to the vector, red where they \
        pull away. Arcs below: neighbours that raise (teal) or lower (red) a weight.</p>
        \(TracePicture(trace).svg)</section>
        """
    }

    private var annealing: String {
        guard let annealing = trace.annealing else { return "" }
        let sweeps = annealing.sweeps.enumerated().filter { !$1.bids.isEmpty }.map { number, sweep in
            let bids = sweep.bids.map { bid in
                let text = trace.pieces[Int(bid.match.first)...Int(bid.match.last)].map(\.text).joined()
                let kind = annealing.edit[bid.match.rule]?.kind == .replace ? "replace" : "add for"
                return """
                    <tr class="\(bid.fate.rawValue)"><td>\(bid.isWithdrawal ? "withdraw" : kind) “\(escaped(displayed(text)))”</td>\
                    <td class="n">\(signed(Float(bid.strength), 0, places: 3))</td><td>\(bid.fate.rawValue)</td></tr>
                    """
            }
            return """
                <h3>Sweep \(number + 1): temperature \(sweep.temperature), energy after it \
                \(signed(Float(sweep.energy), 0, places: 3))</h3>
                <table><tr><th>edit</th><th class="n">bid</th><th>fate</th></tr>\(bids.joined())</table>
                """
        }
        let exact = annealing.exact.map { exact in
            " The least energy\(exact.saturation.isComplete ? "" : " known") is "
                + signed(Float(exact.energy), 0, places: 3)
                + (annealing.energy <= exact.energy ? ": annealing reached it." : ": annealing missed it.")
        }
        return """
            <section><h2>Discrete rules</h2><p class="note">Stop reason \(annealing.stop.rawValue), energy \
            \(signed(Float(annealing.energy), 0, places: 3)).\(exact ?? "")</p>\(sweeps.joined())</section>
            """
    }

    private var columns: String { "<div class=\"columns\">\(path)\(rules)</div>" }

    /// The vector after each step as a ray, at its true angle to the final vector.
    private var path: String {
        let (left, top, radius) = (14.0, 200.0, 180.0)
        let rays = trace.steps.enumerated().map { index, step in
            let angle = Double(angle(step.cosine)) * .pi / 180
            let part = trace.steps.count > 1 ? Double(index) / Double(trace.steps.count - 1) : 1
            let (x, y) = (left + radius * cosine(angle), top - radius * sine(angle))
            return """
                <line x1="\(left)" y1="\(top)" x2="\(rounded(x))" y2="\(rounded(y))" class="ray" \
                style="opacity:\(rounded(0.35 + 0.65 * part))"/><circle cx="\(rounded(x))" cy="\(rounded(y))" r="4" class="tip" \
                style="opacity:\(rounded(0.35 + 0.65 * part))"/>
                """
        }
        let rows = trace.steps.map { step in
            """
            <tr><td>\(step.name.rawValue)</td><td class="n">\(fixed(step.cosine, 4, 0))</td>\
            <td class="n">\(fixed(Float(angle(step.cosine)), 1, 0))°</td></tr>
            """
        }
        return """
            <section><h2>From bag to vector</h2><p class="note">The vector after each step, by its angle to the final one.</p>
            <svg viewBox="0 0 210 214" class="fan" role="img" aria-label="angles of the steps">\
            <path d="M14 20 A180 180 0 0 1 194 200" class="rim"/><line x1="14" y1="200" x2="194" y2="200" class="axis"/>\
            <line x1="14" y1="200" x2="14" y2="20" class="axis"/>\(rays.joined())</svg>
            <table><tr><th>after</th><th class="n">cosine</th><th class="n">angle</th></tr>\(rows.joined())</table></section>
            """
    }

    private var rules: String {
        let shown = trace.rules.sorted { abs($0.share) > abs($1.share) }.prefix(maximumRules)
        guard let largest = shown.first.map({ abs($0.share) }), largest > 0 else { return "" }
        let rows = shown.map { rule in
            let width = rounded(Double(abs(rule.share) / largest) * 50)
            let side = rule.share < 0 ? "right:50%" : "left:50%"
            let causes = rule.causes.map { escaped(displayed(trace.items[$0.item].text)) }.joined(separator: " · ")
            let from = causes.isEmpty ? "its threshold" : causes
            return """
                <tr><td>\(rule.rule)</td><td class="bar"><i class="\(rule.share < 0 ? "away" : "along")" \
                style="width:\(width)%;\(side)"></i></td><td class="n">\(signed(rule.share * 100, 0, places: 1))%</td>\
                <td class="n">\(fixed(rule.bid, 3, 0))</td><td class="causes">\(from)</td></tr>
                """
        }
        let sum = trace.rules.reduce(0) { $0 + $1.share }
        let rest = trace.rules.count - shown.count
        return """
            <section><h2>Context rules</h2><p class="note">What each gives to the vector, its bid, and the items it answers \
            to. Together \(fixed(sum * 100, 1, 0)) %\(rest > 0 ? "; \(rest) weaker ones are not shown" : "").</p>
            <table class="rules"><tr><th>rule</th><th></th><th class="n">share</th><th class="n">bid</th><th>from</th></tr>\
            \(rows.joined())</table></section>
            """
    }

    private var program: String {
        """
        <section><details><summary>The program, \(trace.program.count) words of Forth: <code>sae forth run</code> gives the \
        same vector</summary><pre>\(escaped(trace.source))</pre></details></section>
        """
    }
}

/// Degrees.
private func angle(_ cosine: Float) -> Double { arcCosine(Double(min(max(cosine, -1), 1))) * 180 / .pi }
