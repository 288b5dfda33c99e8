/// Text made from a seed, so that no test needs a corpus.
package enum GeneratedText {
    private static let subjects = [
        "the cat", "a small dog", "my neighbour", "an old engineer", "the committee", "every student", "the river",
        "a red balloon", "the server", "our daughter", "the orchestra", "a passing stranger", "the compiler",
    ]
    private static let verbs = [
        "watches", "paints", "repairs", "forgets", "carries", "discovers", "counts", "follows", "describes",
        "embeds", "borrows", "returns", "ignores", "celebrates",
    ]
    private static let objects = [
        "the window", "a broken clock", "seven bridges", "the morning paper", "an open question", "cold soup",
        "the last train", "a bag of words", "some music", "the empty garden", "twelve vectors", "a long letter",
    ]
    private static let places = [
        "in the harbour", "near the station", "without a sound", "after the storm", "on Tuesday", "at home",
        "before lunch", "under the bridge", "for no reason", "with great care",
    ]
    private static let odd = [
        "naïve café", "ÅNGSTRÖM", "straße", "Ελληνικά", "русский текст", "日本語の文", "مرحبا بالعالم", "👩‍👩‍👧‍👦 🎉", "ﬁne ﬂow",
        "e\u{301}te\u{301}", "x\u{a0}y", "ﷺ", "\u{200b}zero\u{200b}width", "Ⅷ ½ ㎏", "a\u{0}b", "\u{1}\u{7f}ctl", "İstanbul",
        "K", "\u{feff}bom", "１２３", "don't—stop…", "http://a.b/c?d=e&f=%20", "C++/C#", "!!!???", "__init__",
    ]

    /// A plain English sentence.
    package static func sentence(using random: inout SeededRandom) -> String {
        let parts = [subjects, verbs, objects, places].map { $0[Int.random(in: 0..<$0.count, using: &random)] }
        var text = parts.joined(separator: " ")
        if Bool.random(using: &random) { text = text.prefix(1).uppercased() + text.dropFirst() + "." }
        if Int.random(in: 0..<8, using: &random) == 0 { text += " \(Int.random(in: 0..<10_000, using: &random))" }
        return text
    }

    /// A line of bytes that may hold anything: words, odd Unicode, random letters, white space, invalid UTF-8.
    package static func line(using random: inout SeededRandom) -> [UInt8] {
        var line: [UInt8] = []
        for _ in 0..<Int.random(in: 0..<9, using: &random) {
            switch Int.random(in: 0..<8, using: &random) {
            case 0: line += odd[Int.random(in: 0..<odd.count, using: &random)].utf8
            case 1:
                for _ in 0..<Int.random(in: 1..<12, using: &random) {
                    line.append(UInt8.random(in: 33..<127, using: &random))
                }
            case 2 where Int.random(in: 0..<10, using: &random) == 0:
                for _ in 0..<6 { line.append(UInt8.random(in: 0...255, using: &random)) }
            default: line += sentence(using: &random).utf8
            }
            line += [" ", "  ", "\t", ", ", "-", "\r\n"][Int.random(in: 0..<6, using: &random)].utf8
        }
        return line
    }

    package static func sentences(_ count: Int, seed: UInt64) -> [String] {
        var random = SeededRandom(seed: seed)
        return (0..<count).map { _ in sentence(using: &random) }
    }
}
