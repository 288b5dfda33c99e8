package import Diagnostics

/// A program as text: words in capitals, each followed by its numbers, white space between, `\` to the end of the line a
/// comment. `: name … ;` defines a word for people who write programs by hand; it may use those defined before it.
package enum ForthSyntax {
    /// The text of a program; floats are the shortest that read back the same.
    package static func print(_ program: [Instruction]) -> String {
        var lines: [String] = []
        var line: [String] = []
        for instruction in program {
            switch instruction {
            case .lexeme(let id), .phrase(let id), .rule(let id): line.append("\(instruction.word.name) \(id)")
            case .scale(let factor), .lift(let factor): line.append("\(instruction.word.name) \(factor)")
            case .couple(let left, let right, let offset): line.append("COUPLE \(left) \(right) \(offset)")
            default: line.append(instruction.word.name)
            }
            if [.add, .normalize, .couple, .lift].contains(instruction.word) {
                lines.append(line.joined(separator: "  "))
                line = []
            }
        }
        if !line.isEmpty { lines.append(line.joined(separator: "  ")) }
        return lines.map { $0 + "\n" }.joined()
    }

    /// The program in a text.
    package static func parse(_ text: String) throws(ForthSyntaxError) -> [Instruction] {
        try parseWithPositions(text).program
    }

    /// The program in a text, and where each of its words was written: what stems from a definition, where that was used.
    package static func parseWithPositions(
        _ text: String
    ) throws(ForthSyntaxError) -> (program: [Instruction], positions: [TextPosition]) {
        var rest = tokens(text)[...]
        var definitions: [String: [Instruction]] = [:]
        var definedWords = 0
        var (program, positions): ([Instruction], [TextPosition]) = ([], [])
        while let (token, position) = rest.first {
            var words: [Instruction]
            if token == ":" {
                rest.removeFirst()
                let name = try definitionName(&rest, after: position)
                words = []
                while rest.first?.0 != ";" {
                    guard let (token, position) = rest.first else {
                        throw ForthSyntaxError(position: position, expected: "; after : \(name)", found: endOfText)
                    }
                    guard token != ":" else {
                        throw ForthSyntaxError(position: position, expected: "; before the next definition", found: token)
                    }
                    words += try nextWords(&rest, definitions)
                    try checkLength(words.count, at: position)
                }
                rest.removeFirst()
                definedWords += words.count
                try checkLength(definedWords, at: position)
                definitions[name] = words
                continue
            }
            words = try nextWords(&rest, definitions)
            program += words
            positions += repeatElement(position, count: words.count)
            try checkLength(program.count, at: position)
        }
        return (program, positions)
    }

    /// Words of a program, definitions expanded, and of all definitions together.
    package static let maximumWords = 1 << 20

    private static let endOfText = "the end of the text"

    private static func checkLength(_ count: Int, at position: TextPosition) throws(ForthSyntaxError) {
        guard count > maximumWords else { return }
        throw ForthSyntaxError(position: position, expected: "at most \(maximumWords) words", found: "more")
    }

    private static func definitionName(
        _ rest: inout ArraySlice<(String, TextPosition)>, after position: TextPosition
    ) throws(ForthSyntaxError) -> String {
        guard let (name, place) = rest.popFirst() else {
            throw ForthSyntaxError(position: position, expected: "a name after :", found: endOfText)
        }
        guard ![":", ";"].contains(name), !Word.allCases.contains(where: { $0.name == name }), Float(name) == nil else {
            throw ForthSyntaxError(position: place, expected: "a new name after :", found: name)
        }
        return name
    }

    /// Takes one word with its numbers, or the name of a definition.
    private static func nextWords(
        _ rest: inout ArraySlice<(String, TextPosition)>, _ definitions: [String: [Instruction]]
    ) throws(ForthSyntaxError) -> [Instruction] {
        guard let (token, position) = rest.popFirst() else { return [] }
        if let words = definitions[token] { return words }
        guard let word = Word.allCases.first(where: { $0.name == token }) else {
            throw ForthSyntaxError(position: position, expected: "a word", found: token)
        }
        guard rest.count >= word.operandCount else {
            throw ForthSyntaxError(
                position: position, expected: "\(word.operandCount) number(s) after \(word.name)", found: endOfText)
        }
        let instruction = try instruction(word, rest.prefix(word.operandCount))
        rest = rest.dropFirst(word.operandCount)
        return [instruction]
    }

    private static func instruction(
        _ word: Word, _ operands: ArraySlice<(String, TextPosition)>
    ) throws(ForthSyntaxError) -> Instruction {
        func id(_ index: Int, _ expected: String) throws(ForthSyntaxError) -> UInt32 {
            let (token, position) = operands[operands.startIndex + index]
            guard let id = UInt32(token) else {
                throw ForthSyntaxError(position: position, expected: expected, found: token)
            }
            return id
        }
        func factor() throws(ForthSyntaxError) -> Float {
            let (token, position) = operands[operands.startIndex]
            guard let factor = Float(token), factor.isFinite else {
                throw ForthSyntaxError(position: position, expected: "a finite number", found: token)
            }
            return factor
        }
        switch word {
        case .lexeme: return .lexeme(try id(0, "a lexeme's id"))
        case .phrase: return .phrase(try id(0, "a phrase's number"))
        case .rule: return .rule(try id(0, "a rule's number"))
        case .scale: return .scale(try factor())
        case .lift: return .lift(try factor())
        case .couple:
            return .couple(try id(0, "a record's id"), try id(1, "a record's id"), offset: try id(2, "an offset"))
        case .add: return .add
        case .normalize: return .normalize
        case .dup: return .dup
        case .swap: return .swap
        case .over: return .over
        case .drop: return .drop
        case .dot: return .dot
        }
    }

    private static func tokens(_ text: String) -> [(String, TextPosition)] {
        var result: [(String, TextPosition)] = []
        // A line may end with CR LF, which is one character that is not "\n".
        for (number, line) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated() {
            var column = 1
            for part in line.runs(of: \.isWhitespace) {
                if part.first == "\\" { break }
                if part.first?.isWhitespace == false {
                    result.append((String(part), TextPosition(line: number + 1, column: column)))
                }
                column += part.count
            }
        }
        return result
    }
}

/// A place where a text is no program.
package struct ForthSyntaxError: UserFacingError, Equatable {
    package let position: TextPosition
    package let expected: String
    package let found: String

    package var summary: String { "\(position): expected \(expected), found \(found.printable(maximum: maximumQuotedCharacters))" }
    package var remedy: String? {
        "the words are " + Word.allCases.map(\.name).joined(separator: ", ")
    }
    package var category: ErrorCategory { .invalidInput }
}

extension Substring {
    /// Runs of characters that are, and that are not, separators, in turn.
    fileprivate func runs(of isSeparator: (Character) -> Bool) -> [Substring] {
        var result: [Substring] = []
        var start = startIndex
        while start < endIndex {
            let kind = isSeparator(self[start])
            let end = self[start...].firstIndex { isSeparator($0) != kind } ?? endIndex
            result.append(self[start..<end])
            start = end
        }
        return result
    }
}
