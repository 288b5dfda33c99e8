import CTOMLReader
import Diagnostics

/// The text of a settings file.
enum SettingsText {
    /// A table, in front of what is in it, or another value.
    struct Value {
        enum Kind: Equatable { case table, written(Setting.Written), other }

        var kind: Kind
        /// All names that lead to it, with dots between them.
        var name: String
        /// What a string says, or another value as a setting is written elsewhere. Empty for a table.
        var text: String
    }

    /// Why a text is not TOML, and where, if that is known.
    struct Problem: Error {
        var position: TextPosition?
        var reason: String
    }

    /// More dots than any file has, and fewer than would use up a thread's stack.
    static let maximumDots = 1000

    /// All values, those of a table in the order of their names.
    static func values(in bytes: [UInt8]) throws(Problem) -> [Value] {
        if let problem = problem(in: bytes) { throw problem }
        var values: [Value] = []
        var problem = sae_toml_problem()
        let isRead = bytes.withUnsafeBytes { text in
            withUnsafeMutablePointer(to: &values) { values in
                sae_toml_read(
                    text.baseAddress, text.count,
                    { context, value in
                        guard let value else { return }
                        context?.assumingMemoryBound(to: [Value].self).pointee.append(Value(value.pointee))
                    }, values, &problem)
            }
        }
        guard isRead else { throw Problem(problem) }
        return values
    }

    /// The first place that may not reach the parser, and why: a NUL; a table header whose name begins with what begins no name,
    /// where the parser reads what is not there; and too many dots, each of which may nest a table that is freed by recursion.
    private static func problem(in bytes: [UInt8]) -> Problem? {
        let mark: [UInt8] = [0xef, 0xbb, 0xbf]
        let text = bytes.starts(with: mark) ? bytes[mark.count...] : bytes[...]
        var dots = 0
        for (index, line) in text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated() {
            func problem(_ place: Int, _ reason: String) -> Problem {
                Problem(position: TextPosition(line: index + 1, column: place - line.startIndex + 1), reason: reason)
            }
            if let place = line.firstIndex(of: 0) { return problem(place, "a NUL stands in the text") }
            guard var place = line.firstIndex(where: { !isBlank($0) }), line[place] != UInt8(ascii: "#") else { continue }
            for dot in line.indices where line[dot] == UInt8(ascii: ".") {
                dots += 1
                if dots > maximumDots { return problem(dot, "more than \(maximumDots) dots stand outside comments") }
            }
            guard line[place] == UInt8(ascii: "[") else { continue }
            place += 1
            if place < line.endIndex, line[place] == UInt8(ascii: "[") { place += 1 }
            let first = line[place...].firstIndex { !isBlank($0) } ?? line.endIndex
            if first == line.endIndex || !beginsName(line[first]) { return problem(first, "no name of a table begins so") }
        }
        return nil
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") }

    /// Plain or quoted; `]` the parser refuses by itself.
    private static func beginsName(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
        default: Array("_-\"']".utf8).contains(byte)
        }
    }
}

extension SettingsText.Value {
    fileprivate init(_ value: sae_toml_value) {
        func string(_ start: UnsafePointer<CChar>?, _ size: Int) -> String {
            String(decoding: UnsafeRawBufferPointer(start: start, count: size), as: UTF8.self)
        }
        kind =
            switch value.kind {
            case SAE_TOML_TABLE: .table
            case SAE_TOML_STRING: .written(.string)
            case SAE_TOML_INTEGER: .written(.number)
            case SAE_TOML_TRUTH: .written(.truth)
            default: .other
            }
        name = string(value.name, value.name_size)
        text = string(value.text, value.text_size)
    }
}

extension SettingsText.Problem {
    fileprivate init(_ problem: sae_toml_problem) {
        position = problem.line == 0 ? nil : TextPosition(line: Int(problem.line), column: Int(problem.column))
        reason = withUnsafeBytes(of: problem.reason) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
}
