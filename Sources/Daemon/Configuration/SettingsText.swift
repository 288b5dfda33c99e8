import Diagnostics

/// The text of a settings file, checked for what ends a program inside TOMLKit or is cut off there without a word.
enum SettingsText {
    /// The first place that may not reach TOMLKit, and why: a NUL, behind which it reads nothing, and a table header whose name
    /// begins with what begins no name, where its parser asserts. Nil where there is none.
    static func problem(in bytes: [UInt8]) -> (position: TextPosition, reason: String)? {
        let mark: [UInt8] = [0xef, 0xbb, 0xbf]
        let text = bytes.starts(with: mark) ? bytes[mark.count...] : bytes[...]
        for (index, line) in text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated() {
            func position(_ place: Int) -> TextPosition { TextPosition(line: index + 1, column: place - line.startIndex + 1) }
            if let place = line.firstIndex(of: 0) { return (position(place), "a NUL stands in the text") }
            guard var place = line.firstIndex(where: { !isBlank($0) }), line[place] == UInt8(ascii: "[") else { continue }
            place += 1
            if place < line.endIndex, line[place] == UInt8(ascii: "[") { place += 1 }
            let first = line[place...].firstIndex { !isBlank($0) } ?? line.endIndex
            if first == line.endIndex || !beginsName(line[first]) { return (position(first), "no name of a table begins so") }
        }
        return nil
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") }

    /// Plain or quoted; `]` TOMLKit refuses by itself.
    private static func beginsName(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
        default: Array("_-\"']".utf8).contains(byte)
        }
    }
}
