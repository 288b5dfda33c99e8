import Diagnostics

/// One word of a line of rules.
enum RuleToken: Equatable {
    /// A quoted piece, without quotes and escapes.
    case piece(String)
    /// Anything else up to white space.
    case word(String)

    var description: String {
        switch self {
        case .piece(let text): "the piece \"\(text)\""
        case .word(let text): text
        }
    }
}

/// The words of one line, read from left to right. Columns count Unicode scalars.
struct RuleLine {
    private let scalars: Substring.UnicodeScalarView
    private let number: Int
    private var next: Substring.UnicodeScalarView.Index
    private var column = 1

    init(_ scalars: Substring.UnicodeScalarView, number: Int) {
        self.scalars = scalars
        self.number = number
        next = scalars.startIndex
        skipSpace()
    }

    /// Place of the next word, or of the end of the line.
    var position: TextPosition { TextPosition(line: number, column: column) }

    var isAtEnd: Bool { next == scalars.endIndex }
    var isComment: Bool { peek == "#" }

    private var peek: Unicode.Scalar? { isAtEnd ? nil : scalars[next] }

    private mutating func advance() {
        next = scalars.index(after: next)
        column += 1
    }

    private mutating func skipSpace() {
        while let scalar = peek, scalar.properties.isWhitespace { advance() }
    }

    /// The next word, or nil at the end of the line.
    mutating func token() throws(RuleError) -> RuleToken? {
        guard let first = peek else { return nil }
        defer { skipSpace() }
        if first == "\"" { return .piece(try quoted()) }
        var word = ""
        while let scalar = peek, !scalar.properties.isWhitespace {
            word.unicodeScalars.append(scalar)
            advance()
        }
        return .word(word)
    }

    private mutating func quoted() throws(RuleError) -> String {
        var text = ""
        advance()
        while let scalar = peek {
            switch scalar {
            case "\"":
                advance()
                return text
            case "\\": text.unicodeScalars.append(try escaped())
            default:
                text.unicodeScalars.append(scalar)
                advance()
            }
        }
        throw .syntax(position, expected: "a closing quote", found: "the end of the line")
    }

    private mutating func escaped() throws(RuleError) -> Unicode.Scalar {
        let start = position
        advance()
        let letter = peek
        if letter != nil { advance() }
        if let letter, letter == "\"" || letter == "\\" { return letter }
        var digits = ""
        if letter == "u", peek == "{" {
            advance()
            while let scalar = peek, scalar != "}", digits.unicodeScalars.count < 8 {
                digits.unicodeScalars.append(scalar)
                advance()
            }
            if peek == "}", let value = UInt32(digits, radix: 16), let scalar = Unicode.Scalar(value) {
                advance()
                return scalar
            }
        }
        throw .syntax(start, expected: "\\\", \\\\ or \\u{hex}", found: "another escape")
    }
}

/// Collects the statements of a text; knows the classes named so far.
struct RuleParser {
    let names: PieceNames
    private var phraseCount: Int?
    private var contextDimensions: Int?
    private var classes: [PieceClass] = []
    private var classIndices: [String: Int] = [:]
    private var rules: [Rule] = []
    private var classPositions: [TextPosition] = []
    private var rulePositions: [TextPosition] = []

    init(names: PieceNames) { self.names = names }

    /// The set of all statements.
    func ruleSet() throws(RuleError) -> RuleSet {
        do throws(RuleError) {
            return try RuleSet(
                vocabularyCount: names.count, phraseCount: phraseCount ?? 0,
                contextDimensions: contextDimensions ?? 0, classes: classes, rules: rules)
        } catch .rule(let index, let fault) {
            throw .faulty(rulePositions[index], fault)
        } catch .pieceClass(let index, let fault) {
            throw .faulty(classPositions[index], fault)
        }
    }

    mutating func parse(_ line: RuleLine) throws(RuleError) {
        var line = line
        let start = line.position
        if line.isAtEnd || line.isComment { return }
        var rest = line
        switch try rest.token() {
        case .word("phrases"):
            phraseCount = try declared(phraseCount, "phrases", at: start, in: &rest)
        case .word("context"):
            contextDimensions = try declared(contextDimensions, "context", at: start, in: &rest)
        case .word("class"):
            classPositions.append(start)
            try parseClass(&rest)
        default:
            rulePositions.append(start)
            try parseRule(&line)
            return
        }
        try end(rest)
    }

    private func end(_ line: RuleLine) throws(RuleError) {
        var line = line
        let position = line.position
        if let token = try line.token() {
            throw .syntax(position, expected: "the end of the line", found: found(token))
        }
    }

    private func declared(
        _ known: Int?, _ keyword: String, at start: TextPosition, in line: inout RuleLine
    ) throws(RuleError) -> Int {
        guard known == nil else {
            throw .syntax(start, expected: "\(keyword) only once", found: "\(keyword) again")
        }
        return Int(try number("a count", in: &line) { UInt32($0) })
    }

    private mutating func parseClass(_ line: inout RuleLine) throws(RuleError) {
        let position = line.position
        let token = try line.token()
        guard case .word(let name)? = token, name.utf8.allSatisfy(RuleSet.isNameByte) else {
            throw .syntax(position, expected: "a class's name", found: found(token))
        }
        guard classIndices[name] == nil else {
            throw .syntax(position, expected: "a new class's name", found: found(token))
        }
        try keyword("=", in: &line)
        var members: [UInt32] = []
        while !line.isAtEnd {
            let position = line.position
            guard case .record(let id) = try element(in: &line) else {
                throw .syntax(position, expected: "a piece or phrase", found: "a class")
            }
            members.append(id)
        }
        classIndices[name] = classes.count
        classes.append(PieceClass(name, members))
    }

    private mutating func parseRule(_ line: inout RuleLine) throws(RuleError) {
        let pattern = try pattern(in: &line)
        let position = line.position
        let token = try line.token()
        guard let edit = Edit.allCases.first(where: { token == .word($0.keyword) }) else {
            throw .syntax(position, expected: "replace or add", found: found(token))
        }
        let phrase = try number("a phrase, as $3", in: &line) {
            $0.first == "$" ? UInt32($0.dropFirst()) : nil
        }
        var rule = Rule(pattern, edit, phrase: phrase, worth: 0)
        while !line.isAtEnd {
            let position = line.position
            let token = try line.token()
            guard case .word(let word)? = token else {
                throw .syntax(position, expected: Self.numberNames, found: found(token))
            }
            switch NumberKeyword(rawValue: word) {
            case .worth: rule.worth = try float(in: &line)
            case .coefficient: rule.coefficient = try float(in: &line)
            case .offset: rule.offset = try float(in: &line)
            case nil:
                guard word == "context" else {
                    throw .syntax(position, expected: Self.numberNames, found: found(token))
                }
                while !line.isAtEnd { rule.context.append(try float(in: &line)) }
            }
        }
        rules.append(rule)
    }

    private static let numberNames = "worth, coefficient, offset or context"

    /// Up to and with the arrow.
    private func pattern(in line: inout RuleLine) throws(RuleError) -> Pattern {
        var elements = [try element(in: &line)]
        var gaps: [UInt8] = []
        while true {
            var rest = line
            guard case .word(let word)? = try rest.token() else {
                gaps.append(0)
                elements.append(try element(in: &line))
                continue
            }
            if word == "=>" {
                line = rest
                return .sequence(elements, gaps: gaps)
            }
            if elements.count == 1, word.first == "~" {
                let reach = try number("a reach, as ~5", in: &line) { UInt8($0.dropFirst()) }
                let position = line.position
                guard case .pieceClass(let near) = try element(in: &line) else {
                    throw .syntax(position, expected: "a class, as @name", found: "a piece or phrase")
                }
                try keyword("=>", in: &line)
                return .trigger(elements[0], near: near, reach: reach)
            }
            var gap: UInt8 = 0
            if word.hasPrefix("..") {
                gap = try number("a gap, as ..2", in: &line) { UInt8($0.dropFirst(2)) }
            }
            gaps.append(gap)
            elements.append(try element(in: &line))
        }
    }

    private func element(in line: inout RuleLine) throws(RuleError) -> PatternElement {
        let position = line.position
        let token = try line.token()
        let id: Int?
        switch token {
        case .piece(let text): id = names.id(of: text).map(Int.init)
        case .word(let word) where word.first == "%":
            id = UInt32(word.dropFirst()).map(Int.init).flatMap { $0 < names.count ? $0 : nil }
        case .word(let word) where word.first == "$":
            id = UInt32(word.dropFirst()).map { names.count + Int($0) }
        case .word(let word) where word.first == "@":
            guard let index = classIndices[String(word.dropFirst())] else {
                throw .syntax(position, expected: "a class defined above", found: found(token))
            }
            return .pieceClass(index)
        default: throw .syntax(position, expected: "a piece, %id, $phrase or @class", found: found(token))
        }
        guard let id, id < RuleLimits.maximumRecords else {
            throw .syntax(position, expected: "a piece of the vocabulary", found: found(token))
        }
        return .record(UInt32(id))
    }

    private func keyword(_ keyword: String, in line: inout RuleLine) throws(RuleError) {
        let position = line.position
        let token = try line.token()
        guard token == .word(keyword) else { throw .syntax(position, expected: keyword, found: found(token)) }
    }

    private func float(in line: inout RuleLine) throws(RuleError) -> Float {
        try number("a finite number", in: &line) { word in Float(word).flatMap { $0.isFinite ? $0 : nil } }
    }

    private func number<N>(
        _ expected: String, in line: inout RuleLine, _ read: (String) -> N?
    ) throws(RuleError) -> N {
        let position = line.position
        let token = try line.token()
        guard case .word(let word)? = token, let value = read(word) else {
            throw .syntax(position, expected: expected, found: found(token))
        }
        return value
    }

    private func found(_ token: RuleToken?) -> String {
        token?.description.printable(maximum: maximumQuotedCharacters) ?? "the end of the line"
    }
}
