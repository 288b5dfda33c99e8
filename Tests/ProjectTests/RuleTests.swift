import Foundation
import Testing

/// The rules of the house that a program can check.
@Suite struct RuleTests {
    /// The checkout: the folder above this test's executable that holds the manifest.
    private static let root: URL = {
        var folder = Bundle.main.executableURL?.resolvingSymlinksInPath() ?? URL(fileURLWithPath: "/")
        while folder.path != "/",
            !FileManager.default.fileExists(atPath: folder.appending(path: "Package.swift").path)
        {
            folder.deleteLastPathComponent()
        }
        return folder
    }()

    private func files(in folder: String, endings: Set<String>) -> [(path: String, text: String)] {
        let base = Self.root.appending(path: folder)
        guard let all = FileManager.default.enumerator(at: base, includingPropertiesForKeys: nil) else {
            return []
        }
        return all.compactMap { $0 as? URL }.filter { endings.contains($0.pathExtension) }.sorted {
            $0.path < $1.path
        }
        .compactMap { url in
            guard let text = try? String(contentsOf: url, encoding: .utf8) else { return nil }
            return (String(url.path.dropFirst(Self.root.path.count + 1)), text)
        }
    }

    private var sources: [(path: String, text: String)] {
        (files(in: "Sources", endings: ["swift", "c", "cpp", "h", "hpp"])
            + files(in: "Tests", endings: ["swift", "c", "h"]))
            .filter { !$0.path.hasSuffix(".pb.swift") }
    }

    /// Lines of code: not comments, and without what stands in string literals on one line.
    private func code(_ text: String) -> [String] {
        text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
            let parts = line.split(separator: "\"", omittingEmptySubsequences: false)
            let outside = stride(from: 0, to: parts.count, by: 2).map { parts[$0] }.joined(separator: "\"\"")
            return outside.components(separatedBy: "//")[0]
        }
    }

    @Test func `no file is longer than 600 lines`() {
        #expect(sources.count > 50)
        for file in sources {
            #expect(file.text.filter { $0 == "\n" }.count <= 600, "\(file.path)")
        }
    }

    @Test func `sources neither force nor give up`() throws {
        let forced = try Regex(#"[\w\)\]]!([^=\w]|$)|\btry!|\bas!|\bfatalError\b"#)
        for file in files(in: "Sources", endings: ["swift"]) where !file.path.hasSuffix(".pb.swift") {
            for (number, line) in code(file.text).enumerated() {
                #expect(!line.contains(forced), "\(file.path):\(number + 1): \(line)")
            }
        }
    }

    @Test func `the rule against forcing finds what it looks for`() throws {
        let forced = try Regex(#"[\w\)\]]!([^=\w]|$)|\btry!|\bas!|\bfatalError\b"#)
        for bad in ["x.first!.y", "try! f()", "a[0]!", "f()! + 1", "x as! Y", "fatalError()"] {
            #expect(bad.contains(forced), "\(bad)")
        }
        for good in ["a != b", "if !x { }", "(!x)", "try f()"] { #expect(!good.contains(forced), "\(good)") }
    }

    @Test func `tests use package access, and no machine path stands in a file`() {
        let word = "@test" + "able"
        let machine = ["/wo" + "rk/", "/home/" + "user"]
        for file in sources {
            #expect(!file.text.contains(word), "\(file.path)")
            for path in machine { #expect(!file.text.contains(path), "\(file.path)") }
        }
    }

    @Test func `each folder of Sources is a target or a Python package, and the top level is as agreed`() throws {
        let manifest = try String(contentsOf: Self.root.appending(path: "Package.swift"), encoding: .utf8)
        let manager = FileManager.default
        for folder in try manager.contentsOfDirectory(atPath: Self.root.appending(path: "Sources").path) {
            let isPython = manager.fileExists(
                atPath: Self.root.appending(path: "Sources/\(folder)/pyproject.toml").path)
            #expect(isPython || manifest.contains("\"\(folder)\""), "Sources/\(folder)")
        }
        let allowed: Set = [
            "Package.swift", "Package.resolved", "Sources", "Tests", "proto-spec", "kernels-cl", "deploy",
            "docs",
            "scripts", "README.md", "LICENSE", "CONTRIBUTING.md", "CHANGELOG.md", "bench-results",
        ]
        for entry in try manager.contentsOfDirectory(atPath: Self.root.path) where !entry.hasPrefix(".") {
            #expect(allowed.contains(entry), "\(entry)")
        }
    }
}
