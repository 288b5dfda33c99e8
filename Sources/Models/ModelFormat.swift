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
/// Sections, all required: `shape` (u32 dimensions D, u32 vocabulary V, the model's name in UTF-8), `rows`
/// (V × D int8, row-major), `scales` (V binary32), `pieces` (the serialised SentencePiece model), `origin`
/// (provenance: lines `key=value` in UTF-8), `selftest` (u32 length of a text, the text, D binary32: its vector).
package enum ModelFormat {
    package static let version: UInt32 = 1
    static let magic = Array("SAEMODEL".utf8)
    static let headerBytes = 64
    static let entryBytes = 32
    static let alignment = 64
    static let maximumSections: UInt32 = 64
    static let optionalFlag: UInt32 = 1
    static let known = ["shape", "rows", "scales", "pieces", "origin", "selftest"]
    /// Sizes that a reader accepts; wide enough for any model that fits in memory.
    static let maximumDimensions = 4096
    static let maximumVocabulary = 1 << 24

    /// A section's name as the 8 bytes of its table entry.
    static func nameBytes(_ name: String) -> [UInt8] {
        Array((name + String(repeating: " ", count: max(0, 8 - name.utf8.count))).utf8.prefix(8))
    }
}
