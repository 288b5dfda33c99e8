/// Rules as text, one statement a line; a line that begins with `#` is a comment:
/// ```
/// phrases 3
/// context 2
/// class water = "▁river" "▁lake" %917
/// "▁new" "▁york" => replace $0 worth 1.5
/// "▁turn" ..2 "▁off" => add $1 worth 0.5 coefficient 2 offset 0.25 context 0.5 -1
/// "▁bank" ~5 @water => replace $2 worth 0.75
/// ```
/// A piece is written as its text, with `\"`, `\\` and `\u{hex}`, or as `%id`; phrase f is `$f`, a class `@name`.
/// `..n` lets up to n items be skipped, `~k` asks for a member of the class at most k items away. `phrases`, `context`
/// and the numbers are 0 when they are left out.
package enum RuleSyntax {
    /// The text of a rule set; parsing it gives an equal set. Numbers are the shortest that read back the same.
    package static func print(_ rules: RuleSet, names: PieceNames) -> String {
        var lines: [String] = []
        if rules.phraseCount > 0 { lines.append("phrases \(rules.phraseCount)") }
        if rules.contextDimensions > 0 { lines.append("context \(rules.contextDimensions)") }
        for pieceClass in rules.classes {
            let members = pieceClass.members.map { name(.record($0), in: rules, names) }.joined(separator: " ")
            lines.append("class \(pieceClass.name) = \(members)")
        }
        for rule in rules.rules { lines.append(line(of: rule, in: rules, names: names)) }
        return lines.map { $0 + "\n" }.joined()
    }

    /// The line of a rule of a set, without its end.
    package static func line(of rule: Rule, in rules: RuleSet, names: PieceNames) -> String {
        precondition(names.count == rules.vocabularyCount, "the names are those of another vocabulary")
        let pattern = rule.pattern.text { name($0, in: rules, names) }
        return "\(pattern) => \(rule.edit.keyword) $\(rule.phrase)\(numbers(of: rule))"
    }

    private static func name(_ element: PatternElement, in rules: RuleSet, _ names: PieceNames) -> String {
        switch element {
        case .pieceClass(let index): "@\(rules.classes[index].name)"
        case .record(let id) where id >= rules.vocabularyCount: "$\(Int(id) - rules.vocabularyCount)"
        case .record(let id): names.text(of: id).map(quoted) ?? "%\(id)"
        }
    }

    private static func numbers(of rule: Rule) -> String {
        var text = ""
        for (keyword, number) in [
            (NumberKeyword.worth, rule.worth), (.coefficient, rule.coefficient), (.offset, rule.offset),
        ] where number != 0 { text += " \(keyword.rawValue) \(number)" }
        if !rule.context.isEmpty { text += " context" }
        for number in rule.context { text += " \(number)" }
        return text
    }

    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\":
                result.unicodeScalars.append("\\")
                result.unicodeScalars.append(scalar)
            case _ where scalar.properties.generalCategory == .control || scalar.properties.isWhitespace:
                result += "\\u{\(String(scalar.value, radix: 16))}"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }

    /// The rule set in a text.
    /// - Throws: `syntax`, `faulty`, both with the place, or `tooMany`.
    package static func parse(_ text: String, names: PieceNames) throws(RuleError) -> RuleSet {
        var parser = RuleParser(names: names)
        for (number, line) in text.unicodeScalars.split(separator: "\n", omittingEmptySubsequences: false)
            .enumerated()
        {
            try parser.parse(RuleLine(line, number: number + 1))
        }
        return try parser.ruleSet()
    }

    /// The rule set in the bytes of a file, which errors name.
    /// - Throws: `file`.
    package static func parse(_ bytes: [UInt8], ofFile path: String, names: PieceNames) throws(RuleError) -> RuleSet {
        do throws(RuleError) {
            guard let text = String(validating: bytes, as: UTF8.self) else { throw .notText }
            return try parse(text, names: names)
        } catch { throw .file(path: path, error) }
    }
}

extension Edit {
    var keyword: String {
        switch self {
        case .replace: "replace"
        case .add: "add"
        }
    }
}

/// The numbers of a rule that are written with a name.
enum NumberKeyword: String { case worth, coefficient, offset }

extension Pattern {
    fileprivate func text(_ name: (PatternElement) -> String) -> String {
        switch self {
        case .sequence(let elements, let gaps):
            var parts = [name(elements[0])]
            for (gap, element) in zip(gaps, elements.dropFirst()) {
                if gap > 0 { parts.append("..\(gap)") }
                parts.append(name(element))
            }
            return parts.joined(separator: " ")
        case .trigger(let element, near: let index, let reach):
            return "\(name(element)) ~\(reach) \(name(.pieceClass(index)))"
        }
    }
}
