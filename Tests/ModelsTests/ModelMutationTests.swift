import Bytes
import Models
import Programs
import SAEEngine
import TestSupport
import Testing

/// Files whose checksums are right and whose contents are not: what a careless or hostile writer could make.
@Suite struct ModelMutationTests {
    private static let file = TinyModel.contents.serialized()
    private static let sections = 10

    private static func number<T: FixedWidthInteger>(_ bytes: [UInt8], _ offset: Int, _: T.Type) -> T {
        bytes.withUnsafeBytes { T(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: T.self)) }
    }

    private static func store<T: FixedWidthInteger>(_ value: T, _ offset: Int, in bytes: inout [UInt8]) {
        withUnsafeBytes(of: value.littleEndian) { for (index, byte) in $0.enumerated() { bytes[offset + index] = byte } }
    }

    /// Makes every checksum right again for the bytes that stand there.
    private static func repair(_ bytes: inout [UInt8]) {
        for entry in 0..<sections {
            let at = 64 + entry * 32
            let offset = number(bytes, at + 16, UInt64.self)
            let length = number(bytes, at + 24, UInt64.self)
            guard offset <= UInt64(bytes.count), length <= UInt64(bytes.count) - offset else { continue }
            let crc = bytes[Int(offset)..<Int(offset + length)].withUnsafeBytes { crc32c($0) }
            store(crc, at + 12, in: &bytes)
        }
        let head = bytes[..<24].withUnsafeBytes { crc32c($0) }
        let whole = bytes[28..<64 + sections * 32].withUnsafeBytes { crc32c($0, seed: head) }
        store(whole, 24, in: &bytes)
    }

    /// Where a mutation may fall: header, table and every section but the SentencePiece model, which the library
    /// parses and the records, whose every byte but the numbers' is legal.
    private static let places: [Int] = {
        var result = Array(8..<24) + Array(28..<64 + sections * 32)
        for entry in [0, 2, 3, 4, 5, 6, 8, 9] {
            let offset = Int(number(file, 64 + entry * 32 + 16, UInt64.self))
            let length = Int(number(file, 64 + entry * 32 + 24, UInt64.self))
            result += offset..<offset + min(length, 200)
        }
        return result
    }()

    @Test func `a negative scale of a meaning or a lift is refused`() throws {
        let shape = TinyModel.shape
        let folder = try TemporaryFolder()
        let lifts = (shape.couplingCount + shape.ruleCount) * shape.dimensions
        for (section, place) in [(1, 3 * shape.recordBytes + shape.recordNumbersOffset), (5, lifts)] {
            var bytes = Self.file
            let sign = Int(Self.number(bytes, 64 + section * 32 + 16, UInt64.self)) + place + 3
            #expect(bytes[sign] < 0x80)
            bytes[sign] |= 0x80
            Self.repair(&bytes)
            var writer = try AtomicFileWriter(folder.path("n.sae"))
            try writer.append(bytes)
            try writer.commit()
            #expect(throws: ModelError.self) { try Model(folder.path("n.sae")) }
        }
    }

    @Test func `a file with right checksums and wrong contents opens to unit vectors or is refused`() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("m.sae")
        var opened = 0
        let failure = forAll(seed: 61, count: 400, maximumSize: 8) { size, random in
            (0...size).map { _ in
                (
                    place: Self.places.randomElement(using: &random) ?? 8,
                    byte: [0, 1, 0x7f, 0x80, 0xff, UInt8.random(in: 0...255, using: &random)].randomElement(
                        using: &random) ?? 0
                )
            }
        } holds: { edits in
            var bytes = Self.file
            for (place, byte) in edits { bytes[place] = byte }
            Self.repair(&bytes)
            var writer = try AtomicFileWriter(path)
            try writer.append(bytes)
            try writer.commit()
            let engine: Engine
            do throws(ModelError) { engine = Engine(model: try Model(path)) } catch { return !error.summary.isEmpty }
            opened += 1
            let batch = engine.embed(TextBatch(["the cat watches the window", "é"]), threads: 1)
            return (0..<2).allSatisfy { row in
                let square = batch.vector(row).reduce(0.0) { $0 + Double($1) * Double($1) }
                return batch.outcomes[row].status == .ok ? abs(square - 1) < 1e-4 : square == 0
            }
        }
        #expect(failure == nil)
        #expect(opened > 20, "the mutations reach behind the checksums")
    }
}
