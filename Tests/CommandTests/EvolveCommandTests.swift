import Bytes
import Foundation
import Models
import TestSupport
import Testing

/// Searches in a corpus of 1,500 sentences.
@Suite(.serialized) struct EvolveCommandTests {
    private let folder: TemporaryFolder
    private let model: String
    private let teacher: RiverTeacher

    init() throws {
        folder = try TemporaryFolder()
        model = folder.path("tiny.sae")
        try TinyModel.contentsWithPlainRules().write(to: model)
        teacher = try RiverTeacher(folder.path("texts"), count: 1_500, seed: 33, model: model)
    }

    private func evolve(_ library: String, _ options: String...) throws -> Command { try Command(arguments(library) + options) }

    private func arguments(_ library: String) -> [String] {
        ["evolve", teacher.texts, teacher.vectors, "--model", model, "--library", folder.path(library), "--rounds", "2",
         "--refit-every", "2", "--islands", "2", "--population", "3", "--candidates", "256", "--held-out", "1000"]
    }

    private func object(_ text: String) throws -> Any { try JSONSerialization.jsonObject(with: Data(text.utf8)) }

    private func generations(_ library: String) throws -> [[String: Any]] {
        let run = try Command(["rules", "list", "--library", folder.path(library), "--json"])
        #expect(run.status == 0, "\(run.errors)")
        return try #require(try object(run.output) as? [[String: Any]])
    }

    /// The one that the search began from: the model's own rules.
    private func start(_ generations: [[String: Any]]) throws -> [String: Any] {
        try #require(generations.first { ($0["parents"] as? [Any])?.isEmpty == true })
    }

    private func heldOut(_ generation: [String: Any]) throws -> Double {
        try #require((generation["scores"] as? [String: Any])?["held-out-cosine"] as? Double)
    }

    @Test func `a search shows where it stands, and its report is one whole page with all that was found`() throws {
        let page = folder.path("page.html")
        let run = try evolve("a", "--control", "--promote", "--report", page)
        #expect(run.status == 0, "\(run.errors)")
        // Round, best, archive, rate and time left; after the last round nothing is left.
        let line = #/round (\d) of 2: 0\.\d{5} with \d+ rules, .*archive \d+ cells, \d+ trials, \d+/s, .*, (\d+:\d\d) left/#
        let rounds = run.errors.matches(of: line)
        #expect(rounds.map(\.1) == ["1", "2", "1", "2"], "\(run.errors)")
        #expect(rounds.count == 4 && rounds[1].2 == "0:00")

        let html = try String(contentsOfFile: page, encoding: .utf8)
        #expect(markupFault(html) == nil)
        for heading in [
            "What was found", "Fitness over time", "Archive", "Families", "Ablations", "The rules that matter most",
            "Lineage of the winner",
        ] {
            #expect(html.contains("<h2>\(heading)</h2>"), "\(heading)")
        }
        // Two islands and the control; cells of the archive; the winner.
        #expect(html.matches(of: #/<polyline [^>]*>/#).count == 3)
        #expect(html.contains(#/<rect [^>]*class="block"[^>]*><title>\d+ rules, \d+ bytes/#))
        #expect(html.contains("<td>greedy, control</td>") && html.contains("forward selection, which used"))
        let winner = run.output.trimmingCharacters(in: .whitespacesAndNewlines)
        #expect(winner.count == 64 && html.contains("<td>\(winner.prefix(12))</td>"))
        // Sentences of the corpus, with the cosine before and after.
        let said = html.matches(of: #/<td class="said">([^<]*)<\/td><td class="n">\d\.\d{4}<\/td><td class="n (up|down)">\d\.\d{4}</#)
        let corpus = Set(teacher.lines)
        #expect(said.contains { $0.1.contains("river") && $0.2 == "up" } && said.allSatisfy { corpus.contains(String($0.1)) })
        // Of the last ancestor to the first.
        let lineage = try #require(html.range(of: "Lineage of the winner")).upperBound
        #expect(html[lineage...].contains(#/<td>\d*(, \d+)*<\/td><td class="n">\d+<\/td><td class="n">0\.\d{5}<\/td>/#))

        let kept = try generations("a")
        #expect(kept.filter { $0["promoted"] as? Bool == true }.map { $0["digest"] as? String } == [winner])
        #expect(kept.contains { ($0["options"] as? String)?.contains("greedy") == true })
    }

    @Test(arguments: [
        (1, "100", "1 texts to fit and 0 held out are too few"), (2, "1000", "too few; give more text, or change --held-out"),
        (40, "1000", "lacks more than chance would have it; give more text, or lower --minimum-count or --evidence"),
    ], ["evolution", "greedy"])
    func `too little to search in is told, not searched`(
        texts: (count: Int, share: String, words: String), method: String
    ) throws {
        let few = try RiverTeacher(folder.path("few"), count: texts.count, seed: 34, model: model)
        let run = try Command(
            ["evolve", few.texts, few.vectors, "--model", model, "--library", folder.path("none"), "--rounds", "1", "--method", method,
             "--held-out", texts.share])
        #expect(run.status == 65 && run.errors.contains(texts.words), "\(run.status) \(run.errors)")
    }

    @Test func `forward selection finds the same rules each time, which serve texts held out`() throws {
        let (first, second) = (try evolve("a", "--method", "greedy"), try evolve("b", "--method", "greedy", "--threads", "1"))
        #expect(first.status == 0 && first.output.count == 65 && first.output == second.output, "\(first.errors)")
        let kept = try generations("a")
        let start = try start(kept)
        let best = try #require(kept.first { $0["digest"] as? String == String(first.output.dropLast()) })
        #expect((best["options"] as? String)?.contains("greedy") == true && best["rules"] as? Int ?? 0 > start["rules"] as? Int ?? 1_000)
        #expect(try heldOut(best) > heldOut(start))
        #expect(kept.allSatisfy { $0["promoted"] as? Bool == false })
        #expect(try evolve("c", "--method", "greedy", "--control").status == 64)
    }

    @Test func `further texts propose and decide, too, and the generation names them all`() throws {
        // Of 3,000 texts only the first file's share is held out.
        func counts(_ library: String, _ options: String...) throws -> [Int] {
            let page = folder.path("\(library).html")
            let run = try Command(arguments(library) + ["--method", "greedy", "--report", page] + options)
            #expect(run.status == 0, "\(run.errors)")
            let html = try String(contentsOfFile: page, encoding: .utf8)
            let said = try #require(html.firstMatch(of: #/(\d[\d,]*) texts propose, (\d[\d,]*) decide, (\d[\d,]*) are held out/#))
            return [said.1, said.2, said.3].compactMap { Int($0.filter { $0 != "," }) }
        }
        let (both, alone) = (try counts("a", "--also", teacher.texts, teacher.vectors), try counts("b"))
        #expect(both[2] == alone[2] && both[0] + both[1] == 1_500 + alone[0] + alone[1], "\(both) \(alone)")
        let corpus = try Data(contentsOf: URL(fileURLWithPath: teacher.texts))
        let kept = try generations("a")
        let digest = (corpus + corpus).withUnsafeBytes { SHA256.digest(of: $0) }.map { String(format: "%02x", $0) }.joined()
        #expect(kept.contains { $0["corpus"] as? String == digest })
        #expect(try evolve("c", "--also", teacher.texts).status == 64)
    }

    @Test func `a generation is evaluated in the place of the model's rules`() throws {
        let found = try evolve("a", "--method", "greedy", "--promote")
        #expect(found.status == 0, "\(found.errors)")
        let library = folder.path("a")
        // Gold is what the teacher says: the rules bring the model nearer to it.
        let pairs = (0..<400).map { "\(teacher.cosine($0, $0 + 400))\t\(teacher.lines[$0])\t\(teacher.lines[$0 + 400])" }
        let gold = folder.path("gold.tsv")
        try (pairs.joined(separator: "\n") + "\n").write(toFile: gold, atomically: true, encoding: .utf8)
        func pearson(_ options: String...) throws -> Double {
            let run = try Command(["eval", "sts", gold, "--model", model, "--json"] + options)
            #expect(run.status == 0, "\(run.errors)")
            return try #require((try object(run.output) as? [String: Any])?["pearson"] as? Double)
        }
        let start = try #require(try start(try generations("a"))["digest"] as? String)
        let (plain, promoted) = (try pearson(), try pearson("--library", library))
        #expect(promoted > plain)
        #expect(try pearson("--library", library, "--generation", String(found.output.prefix(10))) == promoted)
        #expect(try pearson("--library", library, "--generation", start) < promoted)
        let eval = ["eval", "sts", gold, "--model", model]
        #expect(try Command(eval + ["--generation", start]).status == 64)
        #expect(try Command(eval + ["--library", library, "--generation", "ffffffffffff"]).status == 66)
        #expect(try Command(eval + ["--library", folder.path("none")]).status == 66)
    }
}

/// What is wrong with a page that should need nothing else, or nil: tags that do not nest, attributes without quotes, an
/// ampersand that stands for nothing, scripts, or anything from elsewhere.
func markupFault(_ html: String) -> String? {
    guard html.hasPrefix("<!DOCTYPE html>\n<html "), html.hasSuffix("</html>\n") else { return "it is no whole page" }
    for forbidden in ["<script", " src=", " href=", "http://", "https://", "url("] where html.contains(forbidden) {
        return "it has \(forbidden)"
    }
    if let bare = html.firstMatch(of: #/&(?!amp;|lt;|gt;|quot;|#\d+;)/#) { return "a bare & before \(html[bare.range.upperBound...].prefix(20))" }
    var open: [Substring] = []
    for tag in html.matches(of: #/<(\/?)([a-zA-Z0-9]+)((?:\s+[a-zA-Z][a-zA-Z0-9-]*(?:="[^"<]*")?)*)\s*(\/?)>|<!DOCTYPE html>|</#) {
        guard let name = tag.2 else {
            if tag.0 == "<" { return "a tag that is none: \(html[tag.range.lowerBound...].prefix(40))" }
            continue
        }
        if tag.1 == "/" {
            guard open.popLast() == name else { return "</\(name)> closes something else" }
        } else if tag.4 != "/", name != "meta", name != "br" {
            open.append(name)
        }
    }
    return open.isEmpty ? nil : "<\(open[0])> is not closed"
}
