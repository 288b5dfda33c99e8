import Foundation
import SAEEngine
import TestSupport
import Testing

@Suite struct TraceCommandTests {
    let folder: TemporaryFolder
    let model: String
    private let text = "The cat watches the river without a sound."

    init() throws {
        folder = try TemporaryFolder()
        model = try TinyModel.write(in: folder)
    }

    private func object(_ run: Command) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(run.output.utf8)) as? [String: Any])
    }

    @Test func `a page goes to a file or to standard output`() throws {
        let path = folder.path("cat.html")
        let written = try Command(["trace", "--model", model, text, "--html", path])
        #expect(written.status == 0 && written.output.isEmpty)
        let printed = try Command(["trace", "--model", model, text, "--html", "-"])
        #expect(printed.status == 0 && printed.output.hasPrefix("<!"))
        #expect(printed.output == (try String(contentsOfFile: path, encoding: .utf8)))
    }

    @Test func `the JSON has the documented keys, and the text as it was`() throws {
        let text = "a \"cat\" <script>alert(1)</script> \\ \u{1} naïve"
        let run = try Command(["trace", "--model", model, "--json", text])
        #expect(run.status == 0 && run.errors.isEmpty)
        #expect(run.output.filter { $0 == "\n" }.count == 1 && !run.output.contains("<"))
        let object = try object(run)
        #expect(
            Set(object.keys) == [
                "schema", "model", "generation", "numerics", "text", "temperature", "pieces", "annealing", "items",
                "couplings", "rule_count", "rules", "steps", "program", "vector",
            ])
        #expect(object["schema"] as? Int == 1)
        #expect(object["text"] as? String == text)
        let pieces = try #require(object["pieces"] as? [[String: Any]])
        let spelled = pieces.compactMap { $0["begin"] as? Int }
        #expect(spelled == spelled.sorted() && pieces.last?["end"] as? Int == text.utf8.count)
        let documented = try String(contentsOf: CommandGolden.root.appending(path: "docs/trace.md"), encoding: .utf8)
        for key in keys(of: object) { #expect(documented.contains("`\(key)`"), "\(key)") }
    }

    /// All keys of an object, at any depth.
    private func keys(of value: Any) -> Set<String> {
        if let object = value as? [String: Any] {
            return object.reduce(into: Set(object.keys)) { $0.formUnion(keys(of: $1.value)) }
        }
        guard let array = value as? [Any] else { return [] }
        return array.reduce(into: []) { $0.formUnion(keys(of: $1)) }
    }

    @Test func `the program that a trace prints runs to the same vector, bit for bit`() throws {
        for temperature in ["similarity", "infinite", "3"] {
            let options = ["--model", model, "--temperature", temperature]
            let vector = try Command(["embed", text] + options)
            let forth = try Command(["trace", text, "--forth"] + options)
            #expect(vector.status == 0 && forth.status == 0)
            let run = try Command(["forth", "run", "-", "--model", model], input: Array(forth.output.utf8))
            #expect(run.status == 0 && run.output == vector.output)
        }
    }

    @Test func `the text view is plain, and as recorded`() throws {
        let run = try Command(["trace", "--model", model, "--exact", text])
        #expect(run.status == 0 && !run.output.contains("\u{1B}"))
        try CommandGolden.expect(run.output, equals: "Command/trace.txt")
    }

    @Test func `the page holds the escaped text, nests its tags, and needs nothing else`() throws {
        let path = folder.path("page.html")
        let text = "the cat </title><script>alert('1')</script> & \"the river\""
        let run = try Command(["trace", "--model", model, "--exact", "--html", path, text])
        #expect(run.status == 0 && run.output.isEmpty && run.errors.isEmpty)
        let page = try String(contentsOfFile: path, encoding: .utf8)
        #expect(page.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; &quot;the river&quot;</h1>"))
        for foreign in ["<script", "http:", "https:", "url(", "@import", "javascript:"] { #expect(!page.contains(foreign)) }
        #expect(unclosed(page).isEmpty)
        #expect(page.contains("Stop reason settled") && page.contains("annealing reached it"))
        #expect(page.components(separatedBy: "class=\"block\"").count > 10)
    }

    /// Tags that are not closed, or not in order.
    private func unclosed(_ page: String) -> [String] {
        var open: [String] = []
        for part in page.split(separator: "<").dropFirst() {
            guard let end = part.firstIndex(of: ">") else { return ["<\(part)"] }
            let tag = part[..<end]
            let name = String(tag.prefix { $0.isLetter || $0.isNumber || $0 == "/" || $0 == "!" })
            if name.hasPrefix("/") {
                guard open.popLast() == String(name.dropFirst()) else { return open + [name] }
            } else if !tag.hasSuffix("/"), !["meta", "!DOCTYPE"].contains(name) {
                open.append(name)
            }
        }
        return open
    }

    @Test func `a text cannot steer the terminal`() throws {
        let run = try Command(["trace", "--model", model, "cat \u{1B}[31m \u{202E}dog"])
        #expect(run.status == 0)
        #expect(run.output.contains("cat \\u{1b}[31m \\u{202e}dog") && !run.output.contains("\u{1B}"))
    }

    @Test func `two texts are compared as text, JSON and page`() throws {
        let other = "the dog <b>follows</b> the river"
        let run = try Command(["trace", "--model", model, "--json", text, other])
        #expect(run.status == 0)
        let object = try object(run)
        #expect(
            Set(object.keys) == [
                "schema", "similarity", "families", "first_products", "second_products", "pairs", "first", "second",
            ])
        let similarity = try #require(object["similarity"] as? Double)
        let products = try #require(object["first_products"] as? [String: [Double]])
        #expect(abs(products.values.joined().reduce(0, +) - similarity) < 1e-3)
        #expect((object["second"] as? [String: Any])?["text"] as? String == other)
        let documented = try String(contentsOf: CommandGolden.root.appending(path: "docs/trace.md"), encoding: .utf8)
        for key in object.keys { #expect(documented.contains("`\(key)`"), "\(key)") }

        let plain = try Command(["trace", "--model", model, text, other])
        let sign = similarity < 0 ? "−" : ""
        #expect(plain.status == 0)
        #expect(plain.output.contains("similarity \(sign)\(String(format: "%.4f", abs(similarity)));"))
        let path = folder.path("pair.html")
        #expect(try Command(["trace", "--model", model, "--html", path, text, other]).status == 0)
        let page = try String(contentsOfFile: path, encoding: .utf8)
        #expect(page.contains("the dog &lt;b&gt;follows&lt;/b&gt; the river") && !page.contains("<b>follows"))
        #expect(unclosed(page).isEmpty)
    }

    @Test func `each cause has its exit code`() throws {
        #expect(try Command(["trace", "--model", model, " "]).status == 65)
        #expect(try Command(["trace", "--model", folder.path("none.sae"), "cat"]).status == 66)
        #expect(try Command(["trace"]).status == 64)
        #expect(try Command(["trace", "--model", model, "--forth", "cat", "dog"]).status == 64)
        #expect(try Command(["trace", "a", "b", "c"]).status == 64)
        #expect(try Command(["trace", "--json", "--forth", "cat"]).status == 64)
        #expect(try Command(["trace", "--temperature", "infinite", "--exact", "cat"]).status == 64)
    }
}

/// Files under Tests/Golden, rewritten with UPDATE_GOLDEN=1.
enum CommandGolden {
    /// The checkout: the folder above this test's executable that holds the manifest.
    static let root: URL = {
        var folder = Bundle.main.executableURL?.resolvingSymlinksInPath() ?? URL(fileURLWithPath: "/")
        while folder.path != "/",
            !FileManager.default.fileExists(atPath: folder.appending(path: "Package.swift").path)
        { folder.deleteLastPathComponent() }
        return folder
    }()

    static func expect(_ text: String, equals name: String) throws {
        let file = root.appending(path: "Tests/Golden/\(name)")
        if ProcessInfo.processInfo.environment["UPDATE_GOLDEN"] == "1" {
            try text.write(to: file, atomically: true, encoding: .utf8)
        }
        #expect(try String(contentsOf: file, encoding: .utf8) == text)
    }
}
