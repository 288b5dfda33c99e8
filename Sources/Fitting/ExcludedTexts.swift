package import Bytes

/// Texts that no fit and no search may learn from, such as those of evaluation sets.
///
/// Two texts are the same here if their letters and digits are, word by word: case (of a to z), punctuation and spaces do not count.
package struct ExcludedTexts: Sendable, Equatable {
    private var keys: Set<[UInt8]> = []

    package init() {}

    /// Reads files, plain or gzip: what stands between two tabs of a line is a text, so that a column of labels or scores
    /// excludes such texts, too.
    package init(contentsOf paths: [String]) throws(FileError) {
        var line: [UInt8] = []
        for path in paths {
            var reader = try LineReader(path)
            while try reader.appendNext(to: &line) {
                for column in line.split(separator: UInt8(ascii: "\t")) {
                    let key = Self.key(column)
                    if !key.isEmpty { keys.insert(key) }
                }
                line.removeAll(keepingCapacity: true)
            }
        }
    }

    package var isEmpty: Bool { keys.isEmpty }

    package func contains(_ text: some Collection<UInt8>) -> Bool { !keys.isEmpty && keys.contains(Self.key(text)) }

    /// Their number and SHA-256, for a summary of options; empty without any. The order of the files does not count.
    package var summary: String {
        guard !isEmpty else { return "" }
        let hash = SHA256()
        for key in keys.sorted(by: { $0.lexicographicallyPrecedes($1) }) {
            (key + [UInt8(ascii: "\n")]).withUnsafeBytes { hash.update($0) }
        }
        return ", without \(keys.count) texts \(hexadecimal(hash.finalize()))"
    }

    /// Words of small letters, digits and what is not ASCII, with a space between.
    private static func key(_ text: some Collection<UInt8>) -> [UInt8] {
        var key: [UInt8] = []
        key.reserveCapacity(text.count)
        var isApart = false
        for byte in text {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), 0x80...,
                UInt8(ascii: "A")...UInt8(ascii: "Z"):
                if isApart, !key.isEmpty { key.append(UInt8(ascii: " ")) }
                isApart = false
                key.append((UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte | 0x20 : byte)
            default: isApart = true
            }
        }
        return key
    }
}
