extension String {
    /// These characters as a terminal may show them on one line: control characters become `\u{hex}`, and what goes beyond
    /// `maximum` characters becomes an ellipsis. For errors that quote what a file or a person wrote.
    package func printable(maximum: Int = .max) -> String {
        var result = ""
        for character in prefix(maximum) {
            for scalar in character.unicodeScalars {
                switch scalar.properties.generalCategory {
                case .control, .lineSeparator, .paragraphSeparator, .unassigned, .privateUse, .surrogate:
                    result += "\\u{\(String(scalar.value, radix: 16))}"
                default: result.unicodeScalars.append(scalar)
                }
            }
        }
        return dropFirst(min(maximum, count)).isEmpty ? result : result + "…"
    }
}

/// Of what a person wrote, an error quotes no more characters than these.
package let maximumQuotedCharacters = 40
