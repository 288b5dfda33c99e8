import Bytes
import Foundation
import TestSupport
import Testing
import Vectors

@Suite struct RulesCommandTests {
    private let folder: TemporaryFolder
    private let model: String

    init() throws {
        folder = try TemporaryFolder()
        model = try TinyModel.write(in: folder)
    }

    private func sae(_ arguments: String...) throws -> Command {
        let named = ["show", "diff", "export", "import"].contains(arguments[0]) ? ["--model", model] : []
        return try Command(["rules"] + arguments + named + ["--library", folder.path("library")])
    }

    /// Imports a rule that adds a phrase; the digest.
    private func imported(_ rule: String, _ file: String, _ more: [String] = []) throws -> String {
        try Data("phrases 1\n\(rule)\n".utf8).write(to: URL(fileURLWithPath: folder.path(file)))
        var writer = try NumpyWriter(folder.path("p.npy"), rowCount: 1, columnCount: TinyModel.dimensions)
        try writer.append((0..<TinyModel.dimensions).map { Float($0 % 7) })
        try writer.finish()
        let run = try Command(
            ["rules", "import", folder.path(file), "--phrases", folder.path("p.npy"), "--model", model, "--library", folder.path("library")]
                + more)
        #expect(run.status == 0, "\(run.errors)")
        return String(run.output.dropLast())
    }

    @Test func `generations are imported, listed, compared, promoted and taken back`() throws {
        let first = try imported("%20 %30 => add $0 worth 1", "a", ["--promote"])
        let second = try imported("%20 %31 => add $0 worth 2", "b")
        #expect(first.count == 64 && second.count == 64 && first != second)

        let list = try sae("list", "--json")
        let array = try JSONSerialization.jsonObject(with: Data(list.output.utf8)) as? [[String: Any]]
        #expect(Set(array?.compactMap { $0["digest"] as? String } ?? []) == [first, second])
        #expect(array?.filter { $0["promoted"] as? Bool == true }.first?["digest"] as? String == first)
        let lines = try sae("list").output.split(separator: "\n")
        #expect(lines.count == 3 && lines.contains { $0.hasPrefix("*  \(first.prefix(12))  ") })

        let difference = try sae("diff", first, second)
        #expect(difference.output.hasPrefix("- ") && difference.output.hasSuffix(" => add $0 worth 2.0\n"))
        #expect(difference.output.contains(" => add $0 worth 1.0\n+ "), "\(difference.output)")

        let promoted = try sae("promote", String(second.prefix(20)))
        #expect(promoted.status == 0 && promoted.output == second + "\n")
        #expect(promoted.errors == "sae: it takes the place of \(first.prefix(12))\n")
        #expect(try sae("promote", "--previous").output == first + "\n")
        #expect(try sae("show", "promoted").output.contains("generation    \(first)\n"))
        #expect(try sae("lineage", "promoted").output.hasPrefix("\(first.prefix(12)) *  "))
        let verified = try sae("verify")
        #expect(verified.status == 0 && verified.output == "2 generations, 3 parts, 0 faults\n")
    }

    @Test func `an exported generation imports into another library under the same digest`() throws {
        let digest = try imported("%20 %30 => add $0 worth 1", "a", ["--promote"])
        let export = try sae("export", "promoted", "--output", folder.path("x.rules"))
        #expect(export.status == 0 && export.output.isEmpty)
        let other = try Command([
            "rules", "import", folder.path("x.rules"), "--model", model, "--library", folder.path("other"),
        ])
        #expect(other.output == digest + "\n")
        let again = try Command(["rules", "export", digest, "--model", model, "--library", folder.path("other")])
        #expect(again.output == (try String(contentsOfFile: folder.path("x.rules"), encoding: .utf8)))

        // The rules alone are what a fit reads; with their records they are a generation again, of the same rules.
        #expect(try sae("export", "promoted", "--only-rules", "--output", folder.path("only")).status == 0)
        let rules = try sae("import", folder.path("only"), "--phrases", folder.path("p.npy"))
        #expect(rules.status == 0, "\(rules.errors)")
        #expect(try sae("diff", digest, String(rules.output.dropLast())).output.isEmpty)
    }

    @Test func `what cannot be is one line that says what to do`() throws {
        #expect(try sae("list").status == 66)
        #expect(try sae("promote", "abc").status == 66)
        #expect(!FileManager.default.fileExists(atPath: folder.path("library")), "promoting makes no library")
        _ = try imported("%20 %30 => add $0 worth 1", "a")
        #expect(try sae("promote", "0123456789abcdef").errors.contains("has no generation 0123456789abcdef; see sae rules list"))
        #expect(try sae("promote", "--previous").status == 66)
        #expect(try sae("promote").status == 64)
        try Data("phrases 1\n%20 %30 => add $0 wort 1\n".utf8).write(to: URL(fileURLWithPath: folder.path("bad")))
        let bad = try sae("import", folder.path("bad"), "--phrases", folder.path("p.npy"))
        #expect(bad.status == 65 && bad.errors.contains("line 2, column 19"))
        let none = try sae("import", folder.path("a"))
        #expect(none.status == 64 && none.errors.contains("--phrases"))
        let file = folder.path("library/data.mdb")
        try Data(contentsOf: URL(fileURLWithPath: file)).prefix(9_000).write(to: URL(fileURLWithPath: file))
        let cut = try sae("list")
        #expect(cut.status == 65 && cut.errors.contains("is truncated: 9000 bytes of"))
    }
}
