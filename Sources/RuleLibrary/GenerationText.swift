import Bytes
import Diagnostics
package import Rules

/// A generation as text: lines that say where it comes from, its rules in their own syntax (`RuleSyntax`), and the records of
/// its phrases. Nothing is lost: importing gives the same digest, and the same worth.
/// ```
/// generation 1                          format of the text
/// model 64 hexadecimal digits
/// parent …                              one line each
/// seed 7
/// options --method greedy               the rest of the line
/// corpus …    teacher …
/// made 1764030000000                    milliseconds since 1970
/// score held-out-cosine 0.88            one line each
/// bytes 4096    microseconds 0.5
/// test 0.1 0.2 …                        the test vector
/// phrases 1
/// "▁new" "▁york" => add $0 worth 1.5
/// record $0 hexadecimal digits          one line a phrase
/// ```
package enum GenerationText {
    private static let format = "1"

    /// - Parameter names: the pieces of the generation's model.
    package static func print(_ generation: Generation, worth: Worth, names: PieceNames) -> String {
        let origin = generation.origin
        var lines = ["# generation \(generation.digest)", "generation \(format)", "model \(generation.model)"]
        lines += origin.parents.map { "parent \($0)" }
        lines.append("seed \(origin.seed)")
        if !origin.options.isEmpty { lines.append("options \(origin.options)") }
        if let corpus = origin.corpus { lines.append("corpus \(corpus)") }
        if let teacher = origin.teacher { lines.append("teacher \(teacher)") }
        lines.append("made \(worth.madeMilliseconds)")
        lines += worth.scores.sorted { $0.key < $1.key }.map { "score \($0.key) \($0.value)" }
        if worth.bytes > 0 { lines.append("bytes \(worth.bytes)") }
        if worth.microseconds != 0 { lines.append("microseconds \(worth.microseconds)") }
        if !worth.testVector.isEmpty { lines.append("test " + worth.testVector.map { "\($0)" }.joined(separator: " ")) }
        var text = lines.map { $0 + "\n" }.joined() + RuleSyntax.print(generation.rules, names: names)
        let size = generation.recordBytes
        for phrase in 0..<generation.rules.phraseCount {
            text += "record $\(phrase) \(hexadecimal(generation.records[phrase * size..<(phrase + 1) * size]))\n"
        }
        return text
    }

    /// Whether a text is that of a generation, rather than of rules alone.
    package static func isGeneration(_ text: String) -> Bool {
        text.split(separator: "\n").first { !$0.hasPrefix("#") }?.hasPrefix("generation ") ?? false
    }

    /// - Throws: `text`, `rules`, both with the place; `altered` where the first line names another generation.
    package static func parse(_ text: String, names: PieceNames) throws(LibraryError) -> (generation: Generation, worth: Worth) {
        var reader = TextReader()
        var ruleLines: [Substring] = []
        for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            // The rules keep the numbers of their lines.
            ruleLines.append(try reader.read(line, number: number + 1) ? "" : line)
        }
        let rules: RuleSet
        do throws(RuleError) {
            rules = try RuleSyntax.parse(ruleLines.joined(separator: "\n"), names: names)
        } catch { throw .rules(error) }
        let result = try reader.generation(rules)
        if let named = namedDigest(text), named != result.generation.digest { throw .altered(named: "\(named)") }
        return result
    }

    /// What the first line, a comment, says that the generation is.
    private static func namedDigest(_ text: String) -> Digest? {
        let begin = "# generation "
        guard let line = text.split(separator: "\n", maxSplits: 1).first, line.hasPrefix(begin) else { return nil }
        return Digest(hexadecimal: line.dropFirst(begin.count))
    }

    private struct TextReader {
        private var model: Digest?
        private var isKnown = false
        private var origin = Origin()
        private var worth = Worth(madeMilliseconds: 0)
        private var records: [Int: [UInt8]] = [:]
        private var lineCount = 0

        /// False for a line that belongs to the rules.
        mutating func read(_ line: Substring, number: Int) throws(LibraryError) -> Bool {
            lineCount = number
            let parts = line.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: false)
            guard let keyword = parts.first else { return false }
            let rest = parts.count > 1 ? parts[1] : ""
            func value<Value>(_ expected: String, _ read: (Substring) -> Value?) throws(LibraryError) -> Value {
                guard let value = read(rest) else {
                    throw .text(
                        TextPosition(line: number, column: keyword.count + 2), expected: expected,
                        found: rest.isEmpty ? "the end of the line" : String(rest).printable(maximum: maximumQuotedCharacters))
                }
                return value
            }
            func digest() throws(LibraryError) -> Digest {
                try value("64 hexadecimal digits") { Digest(hexadecimal: $0) }
            }
            switch keyword {
            case "generation": isKnown = try value("format \(format)") { $0 == format ? true : nil }
            case "model": model = try digest()
            case "parent": origin.parents.append(try digest())
            case "seed": origin.seed = try value("a whole number") { UInt64($0) }
            case "options": origin.options = String(rest)
            case "corpus": origin.corpus = try digest()
            case "teacher": origin.teacher = try digest()
            case "made": worth.madeMilliseconds = try value("milliseconds since 1970") { Int64($0) }
            case "bytes": worth.bytes = try value("a whole number") { UInt64($0) }
            case "microseconds": worth.microseconds = try value("a number") { Double($0) }
            case "score":
                let (name, score) = try value("a name and a number") { rest -> (String, Double)? in
                    let parts = rest.split(separator: " ")
                    return parts.count == 2 ? Double(parts[1]).map { (String(parts[0]), $0) } : nil
                }
                worth.scores[name] = score
            case "test":
                worth.testVector = try value("numbers") { rest -> [Float]? in
                    let numbers = rest.split(separator: " ").map { Float($0) }
                    return numbers.contains(nil) ? nil : numbers.compactMap { $0 }
                }
            case "record":
                let (phrase, bytes) = try value("a phrase and hexadecimal digits, as $3 00ff") { rest -> (Int, [UInt8])? in
                    let parts = rest.split(separator: " ")
                    guard parts.count == 2, parts[0].first == "$", let phrase = Int(parts[0].dropFirst()),
                        let bytes = decoded(hexadecimal: parts[1])
                    else { return nil }
                    return (phrase, bytes)
                }
                records[phrase] = bytes
            default: return false
            }
            return true
        }

        func generation(_ rules: RuleSet) throws(LibraryError) -> (generation: Generation, worth: Worth) {
            let end = TextPosition(line: lineCount, column: 1)
            guard isKnown, let model else { throw .text(end, expected: "lines `generation` and `model`", found: "the end") }
            var all: [UInt8] = []
            for phrase in 0..<rules.phraseCount {
                guard let record = records[phrase] else {
                    throw .text(end, expected: "a line `record $\(phrase)`", found: "the end")
                }
                guard record.count == records[0]?.count else {
                    throw .text(end, expected: "records of one length", found: "another for phrase $\(phrase)")
                }
                all += record
            }
            guard records.count == rules.phraseCount else {
                throw .text(end, expected: "\(rules.phraseCount) records", found: "\(records.count)")
            }
            return (Generation(model: model, origin: origin, rules: rules, records: all), worth)
        }
    }
}

private func decoded(hexadecimal text: Substring) -> [UInt8]? {
    guard text.utf8.count % 2 == 0 else { return nil }
    let digits = text.utf8.map { Character(Unicode.Scalar($0)).hexDigitValue }
    guard !digits.contains(nil) else { return nil }
    let values = digits.compactMap { $0 }
    return stride(from: 0, to: values.count, by: 2).map { UInt8(values[$0] << 4 | values[$0 + 1]) }
}
