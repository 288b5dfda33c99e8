import Glibc

/// A piece as people read it: without the mark for the space before a word, and printable.
func displayed(_ piece: String) -> String {
    let words = piece.split(separator: "\u{2581}", omittingEmptySubsequences: true)
    return words.isEmpty ? "␣" : printable(words.joined(separator: " "))
}

/// Text that cannot steer a terminal: control and invisible formatting characters become their number.
func printable(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned:
            if scalar == "\u{200D}" { fallthrough }
            result += "\\u{\(String(scalar.value, radix: 16))}"
        default: result.unicodeScalars.append(scalar)
        }
    }
    return result
}

/// Columns that a terminal takes for a text: two for the wide characters of East Asia and for emoji, none for marks that
/// stand on others.
func columnCount(_ text: String) -> Int {
    text.reduce(0) { sum, character in
        guard let scalar = character.unicodeScalars.first else { return sum }
        if [.nonspacingMark, .enclosingMark].contains(scalar.properties.generalCategory) { return sum }
        switch scalar.value {
        case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0xA4CF, 0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE30...0xFE6F,
            0xFF00...0xFF60, 0xFFE0...0xFFE6, 0x1F300...0x1F64F, 0x1F900...0x1F9FF, 0x20000...0x3FFFD:
            return sum + 2
        default: return sum + 1
        }
    }
}

func padded(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - columnCount(text)))
}

/// A number with `places` decimals, right-aligned in `width` columns.
func fixed(_ value: Float, _ places: Int, _ width: Int) -> String {
    var scale: Float = 1
    for _ in 0..<places { scale *= 10 }
    let units = Int64((Double(abs(value)) * Double(scale)).rounded())
    let whole = "\(units / Int64(scale))"
    let rest = "\(units % Int64(scale))"
    let digits = places == 0 ? whole : whole + "." + String(repeating: "0", count: places - rest.count) + rest
    let text = (value < 0 && units > 0 ? "−" : "") + digits
    return String(repeating: " ", count: max(0, width - text.count)) + text
}

/// The same with its sign, also a plus.
func signed(_ value: Float, _ width: Int, places: Int = 2) -> String {
    let text = fixed(value, places, 0)
    return String(repeating: " ", count: max(0, width - text.count - (text.hasPrefix("−") ? 0 : 1)))
        + (text.hasPrefix("−") ? text : "+" + text)
}
