/// The model file, byte by byte; integers and floats are little-endian.
///
/// ```
///   0  "SAEMODEL"
///   8  u32 format version          12  u32 number of sections, n
///  16  u64 size of the file
///  24  u32 CRC-32C of bytes 0–23, 28–63 and the table
///  28  u32 zero
///  32  32 bytes: the digest, SHA-256 of the table and every section in order
///  64  the table, n × 32 bytes: 8 bytes name, padded with spaces; u32 flags (bit 0: a reader that does not know
///      the section may ignore it; the rest zero); u32 CRC-32C of the section; u64 offset; u64 length
///      the sections, each at a multiple of 64, gaps zero
/// ```
/// Sections, all required, in the symbols of algorithm.md:
/// `shape`: u32 × 7, D, r, s, c, H, pieces, records; f32 temperature; then the model's name in UTF-8.
/// `records`: see `RecordTable`. `project`: P, r × D int8, then r scales. `gates`: d, 4 × s f32, then e, 2 × c f32.
/// `rules`: K, H × (D + c) int8, then H scales, then H thresholds. `lifts`: (c + H) × D int8, then c + H scales.
/// Scales of `lifts` and of the records' E are not negative.
/// `phrases`: the discrete rules, `RuleSet.canonicalBytes`. `pieces`: the serialised SentencePiece model. `origin`: provenance, lines `key=value` in UTF-8. `selftest`: u32 length
/// of a text, the text, D f32: its vector.
package enum ModelFormat {
    package static let version: UInt32 = 3
    static let magic = Array("SAEMODEL".utf8)
    static let headerBytes = 64
    static let entryBytes = 32
    static let alignment = 64
    static let maximumSections: UInt32 = 64
    static let optionalFlag: UInt32 = 1
    static let known = ["shape", "records", "project", "gates", "rules", "lifts", "phrases", "pieces", "origin", "selftest"]
    /// Sizes that a reader accepts; wide enough for any model that fits in memory.
    static let maximumVocabulary = 1 << 24

    /// A section's name as the 8 bytes of its table entry.
    static func nameBytes(_ name: String) -> [UInt8] {
        Array((name + String(repeating: " ", count: max(0, 8 - name.utf8.count))).utf8.prefix(8))
    }
}
