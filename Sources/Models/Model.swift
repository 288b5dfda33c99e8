import Bytes
package import Tokenization
package import Vectors

/// A model file, opened and checked: everything that an engine needs. Immutable.
package final class Model: Sendable {
    package let name: String
    package let lexemes: RowTable
    package let pieces: PieceModel
    package let provenance: [(key: String, value: String)]
    package let selfTest: (text: String, vector: [Float])
    /// SHA-256 as the header states it.
    package let digest: [UInt8]
    /// Names and sizes of the sections, in order.
    package let sections: [(name: String, bytes: Int)]
    private let file: MappedFile

    package var dimensions: Int { lexemes.dimensions }

    /// Maps a file, checks header, table, the checksum of every section, and that they fit together.
    package init(_ path: String) throws(ModelError) {
        do throws(FileError) { file = try MappedFile(path) } catch { throw .file(error) }
        let layout = try ModelLayout(file.bytes, path: path)
        digest = layout.digest
        sections = layout.entries.map { ($0.name, $0.bytes.count) }
        var shape = ByteReader(try layout.section("shape"))
        guard let dimensions = shape.next(UInt32.self).map(Int.init), let count = shape.next(UInt32.self).map(Int.init),
            (1...ModelFormat.maximumDimensions).contains(dimensions),
            (1...ModelFormat.maximumVocabulary).contains(count),
            let name = shape.next(count: shape.remaining).map({ String(decoding: $0, as: UTF8.self) })
        else { throw .section(path: path, name: "shape", reason: "sizes are out of range") }
        self.name = name
        let rows = try layout.section("rows", byteCount: count * dimensions)
        let scales = try layout.section("scales", byteCount: count * 4)
        guard let elements = rows.baseAddress, let scaleBase = scales.baseAddress else {
            throw .section(path: path, name: "rows", reason: "is empty")
        }
        let scaleValues = scaleBase.assumingMemoryBound(to: Float.self)
        for index in 0..<count where !scaleValues[index].isFinite {
            throw .section(path: path, name: "scales", reason: "scale \(index) is not a finite number")
        }
        lexemes = RowTable(
            elements: elements.assumingMemoryBound(to: Int8.self), scales: scaleValues, count: count,
            dimensions: dimensions, owner: file)
        let pieceBytes = try layout.section("pieces")
        do throws(TokenizationError) { pieces = try PieceModel(serialized: pieceBytes) } catch {
            throw .section(path: path, name: "pieces", reason: error.summary)
        }
        guard pieces.vocabularyCount == count else {
            throw .section(
                path: path, name: "pieces",
                reason: "has \(pieces.vocabularyCount) pieces, and section \"rows\" has \(count) rows")
        }
        provenance = try Self.parseOrigin(layout.section("origin"), path: path)
        selfTest = try Self.parseSelfTest(layout.section("selftest"), dimensions: dimensions, path: path)
    }

    private static func parseOrigin(
        _ bytes: UnsafeRawBufferPointer, path: String
    ) throws(ModelError) -> [(key: String, value: String)] {
        var result: [(key: String, value: String)] = []
        for line in bytes.split(separator: UInt8(ascii: "\n")) {
            guard let cut = line.firstIndex(of: UInt8(ascii: "=")) else {
                throw .section(path: path, name: "origin", reason: "line \(result.count + 1) has no =")
            }
            result.append(
                (String(decoding: line[..<cut], as: UTF8.self), String(decoding: line[(cut + 1)...], as: UTF8.self)))
        }
        return result
    }

    private static func parseSelfTest(
        _ bytes: UnsafeRawBufferPointer, dimensions: Int, path: String
    ) throws(ModelError) -> (text: String, vector: [Float]) {
        var reader = ByteReader(bytes)
        guard let length = reader.next(UInt32.self), let text = reader.next(count: Int(length)),
            reader.remaining == dimensions * 4
        else { throw .section(path: path, name: "selftest", reason: "its lengths do not fit together") }
        var vector: [Float] = []
        while let bits = reader.next(UInt32.self) { vector.append(Float(bitPattern: bits)) }
        guard vector.allSatisfy(\.isFinite) else {
            throw .section(path: path, name: "selftest", reason: "the vector is not finite")
        }
        return (String(decoding: text, as: UTF8.self), vector)
    }

    /// Computes the digest again, which opening does not: the checksums of the sections are quicker.
    package func verifyDigest() -> Bool {
        guard let layout = try? ModelLayout(file.bytes, path: file.path) else { return false }
        let hash = SHA256()
        hash.update(layout.table)
        for entry in layout.entries { hash.update(entry.bytes) }
        return hash.finalize() == digest
    }
}
