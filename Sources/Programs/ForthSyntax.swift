package import Diagnostics

/// A program as text: words in capitals, each followed by its numbers, white space between, `\` to the end of the line a
/// comment.
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
        var program: [Instruction] = []
        var rest = tokens(text)[...]
        while let (token, position) = rest.popFirst() {
            guard let word = Word.allCases.first(where: { $0.name == token }) else {
                throw ForthSyntaxError(position: position, expected: "a word", found: token)
            }
            guard rest.count >= word.operandCount else {
                throw ForthSyntaxError(
                    position: position, expected: "\(word.operandCount) number(s) after \(word.name)",
                    found: "the end of the text")
            }
            program.append(try instruction(word, rest.prefix(word.operandCount)))
            rest = rest.dropFirst(word.operandCount)
        }
        return program
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
