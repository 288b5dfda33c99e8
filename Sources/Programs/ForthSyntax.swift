package import Diagnostics

/// A program as text: words in capitals, `LEXEME` and `SCALE` followed by a number, white space between,
/// `\` to the end of the line a comment.
package enum ForthSyntax {
    /// The text of a program; floats are the shortest that read back the same.
    package static func print(_ program: [Instruction]) -> String {
        var lines: [String] = []
        var line: [String] = []
        for instruction in program {
            switch instruction {
            case .lexeme(let id): line.append("LEXEME \(id)")
            case .scale(let factor): line.append("SCALE \(factor)")
            default: line.append(instruction.word.name)
            }
            if instruction.word == .add || instruction.word == .normalize {
                lines.append(line.joined(separator: "  "))
                line = []
            }
        }
        if !line.isEmpty { lines.append(line.joined(separator: "  ")) }
        return lines.map { $0 + "\n" }.joined()
    }

    /// The program in a text.
    package static func parse(_ text: String) throws(ForthSyntaxError) -> [Instruction] {
        var program: [Instruction] = []
        var pending: (word: Word, position: TextPosition)?
        for (token, position) in tokens(text) {
            if let (word, _) = pending {
                pending = nil
                program.append(try operand(of: word, token, at: position))
                continue
            }
            guard let word = Word.allCases.first(where: { $0.name == token }) else {
                throw ForthSyntaxError(position: position, expected: "a word", found: token)
            }
            switch word {
            case .lexeme, .scale: pending = (word, position)
            case .add: program.append(.add)
            case .normalize: program.append(.normalize)
            case .dup: program.append(.dup)
            case .swap: program.append(.swap)
            case .over: program.append(.over)
            case .drop: program.append(.drop)
            case .dot: program.append(.dot)
            }
        }
        if let (word, position) = pending {
            throw ForthSyntaxError(
                position: position, expected: "a number after \(word.name)", found: "the end of the text")
        }
        return program
    }

    private static func operand(
        of word: Word, _ token: String, at position: TextPosition
    ) throws(ForthSyntaxError) -> Instruction {
        if word == .lexeme {
            guard let id = UInt32(token) else {
                throw ForthSyntaxError(position: position, expected: "a lexeme's id", found: token)
            }
            return .lexeme(id)
        }
        guard let factor = Float(token), factor.isFinite else {
            throw ForthSyntaxError(position: position, expected: "a finite number", found: token)
        }
        return .scale(factor)
    }

    private static func tokens(_ text: String) -> [(String, TextPosition)] {
        var result: [(String, TextPosition)] = []
        for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
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

    package var summary: String { "\(position): expected \(expected), found \(found)" }
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
