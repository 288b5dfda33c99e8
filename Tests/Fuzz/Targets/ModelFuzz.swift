import Bytes
import Glibc
import Models
import Programs
import Rules
import SAEEngine
import Tokenization
import Vectors

/// A whole model of sixteen dimensions.
let smallModel: [UInt8] = {
    do {
        let text = "the quick brown fox jumps over the lazy dog while a small river runs past the old stone bridge"
        let words = text.split(separator: " ").map(String.init)
        let texts = (0..<500).map { index in
            Array((0..<6).map { words[(index * 7 + $0 * $0) % words.count] }.joined(separator: " ").utf8)
        }
        let pieces = try PieceTrainer.train(texts: texts, vocabularyCount: 300)
        let count = try PieceModel(serialized: pieces).vocabularyCount
        let shape = ModelShape(
            dimensions: 16, contextRank: 16, neighbourRank: 16, couplingCount: 16, ruleCount: 16)
        func numbers(_ count: Int) -> [Float] { (0..<count).map { Float($0 % 17) / 8 - 1 } }
        func rows(_ count: Int, _ columns: Int) -> QuantizedRows {
            QuantizedRows(quantizing: numbers(count * columns), dimensions: columns)
        }
        var records = PackedRecords(shape: shape)
        for _ in 0...count { records.append(numbers(shape.recordElementCount), bias: 0.5) }
        var contents = ModelContents(
            name: "fuzz", records: records, projection: rows(16, 16), neighbours: numbers(64), couplings: numbers(32),
            rules: rows(16, 32), thresholds: numbers(16), lifts: rows(32, 16),
            phrases: try RuleSet(
                vocabularyCount: count, phraseCount: 1,
                rules: [Rule(.adjacent(records: 260, 261), .replace, phrase: 0, worth: 1)]),
            temperature: 1, pieceModel: pieces,
            pieceCount: count, provenance: [("seed", "1")], selfTest: ("", []))
        try Engine.recordSelfTest("the river", in: &contents)
        return contents.serialized()
    } catch { preconditionFailure("no model to mutate: \(error)") }
}()

private let path = scratchPath("model")

/// Mutated model files: every four bytes of an input are a place (three bytes, modulo the size) and the byte to put
/// there. An odd first byte makes the checksums right again, so that mutations reach the contents; the
/// SentencePiece model's stays wrong then, because the library does not promise to survive a foreign one.
package func fuzzModels(_ bytes: UnsafeRawBufferPointer) {
    let size = bytes.count
    guard size >= 5 else { return }
    var file = smallModel
    for at in stride(from: 1, through: size - 4, by: 4) {
        let place = Int(bytes[at]) | Int(bytes[at + 1]) << 8 | Int(bytes[at + 2]) << 16
        file[place % file.count] = bytes[at + 3]
    }
    if bytes[0] & 1 == 1 { repair(&file) }
    write(file, to: path)
    do throws(ModelError) {
        let engine = Engine(model: try Model(path))
        _ = engine.embed(TextBatch(["the river runs past", "é"]), threads: 1)
    } catch { precondition(!error.summary.isEmpty) }
    unlink(path)
}

/// Makes the checksums of header, table and every section but `pieces` right for what stands there.
private func repair(_ file: inout [UInt8]) {
    func store(_ crc: UInt32, _ offset: Int) {
        withUnsafeBytes(of: crc.littleEndian) { for (index, byte) in $0.enumerated() { file[offset + index] = byte } }
    }
    for entry in 0..<10 where entry != 7 {
        let at = 64 + entry * 32
        let (offset, length) = file.withUnsafeBytes {
            (
                $0.loadUnaligned(fromByteOffset: at + 16, as: UInt64.self),
                $0.loadUnaligned(fromByteOffset: at + 24, as: UInt64.self)
            )
        }
        guard offset <= UInt64(file.count), length <= UInt64(file.count) - offset else { continue }
        store(file[Int(offset)..<Int(offset + length)].withUnsafeBytes { crc32c($0) }, at + 12)
    }
    let head = file[..<24].withUnsafeBytes { crc32c($0) }
    store(file[28..<64 + 10 * 32].withUnsafeBytes { crc32c($0, seed: head) }, 24)
}
