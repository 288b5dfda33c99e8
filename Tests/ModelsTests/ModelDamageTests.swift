import Bytes
import Models
import TestSupport
import Testing
import Vectors

@Suite struct ModelDamageTests {
    private let folder: TemporaryFolder
    private static let file = TinyModel.contents.serialized()

    init() throws { folder = try TemporaryFolder() }

    private func open(_ bytes: some Sequence<UInt8>) throws(ModelError) -> Model {
        let path = folder.path("model.sae")
        do throws(FileError) {
            var writer = try AtomicFileWriter(path)
            try writer.append(Array(bytes))
            try writer.commit()
        } catch { throw .file(error) }
        return try Model(path)
    }

    /// The error that opening these bytes gives, or nil.
    private func failure(_ bytes: some Sequence<UInt8>) -> ModelError? {
        do throws(ModelError) {
            _ = try open(bytes)
            return nil
        } catch { return error }
    }

    @Test func `the digest is of the contents, and one bit of them changes it`() throws {
        let digest = try open(Self.file).digest
        #expect(try open(TinyModel.contents.serialized()).digest == digest)
        var other = TinyModel.contents
        other.provenance.append(("more", "1"))
        #expect(try open(other.serialized()).digest != digest)
    }

    @Test func `sections start at multiples of 64`() {
        let count = Int(Self.file[12])
        for index in 0..<count {
            let offset = Self.file.withUnsafeBytes {
                $0.loadUnaligned(fromByteOffset: 64 + index * 32 + 16, as: UInt64.self)
            }
            #expect(offset % 64 == 0)
        }
        #expect(count == 10)
    }

    @Test func `a file cut anywhere is refused`() {
        let lengths = Array(0..<300) + stride(from: 300, to: Self.file.count, by: 7_919) + [Self.file.count - 1]
        for length in lengths {
            switch failure(Self.file[..<length]) {
            case .foreign: #expect(length < 8)
            case .truncated(_, let expected, let actual): #expect(actual == length && expected > UInt64(length))
            default: Issue.record("a file of \(length) bytes was not refused as truncated")
            }
        }
    }

    @Test func `bytes behind the end are refused`() {
        guard case .header(_, let reason) = failure(Self.file + [0]) else {
            Issue.record("not refused")
            return
        }
        #expect(reason == "it states \(Self.file.count) bytes, and the file has \(Self.file.count + 1)")
    }

    @Test func `a flipped bit names the section that it is in`() throws {
        let names = ["shape", "records", "project", "gates", "rules", "lifts", "phrases", "pieces", "origin", "selftest"]
        #expect(try open(Self.file).sections.map(\.name) == names)
        for (index, name) in names.enumerated() {
            let (offset, length) = Self.file.withUnsafeBytes {
                (
                    Int($0.loadUnaligned(fromByteOffset: 64 + index * 32 + 16, as: UInt64.self)),
                    Int($0.loadUnaligned(fromByteOffset: 64 + index * 32 + 24, as: UInt64.self))
                )
            }
            for place in [offset, offset + length / 2, offset + length - 1] {
                var bytes = Self.file
                bytes[place] ^= 0x10
                guard case .section(_, let found, let reason) = failure(bytes) else {
                    Issue.record("byte \(place) of \(name) was not refused")
                    continue
                }
                #expect(found == name)
                #expect(reason == "its checksum differs: the file is damaged")
            }
        }
    }

    @Test func `a byte in a gap between sections is refused`() {
        guard case .header(_, let reason) = failure(Self.file.withGapByte) else {
            Issue.record("not refused")
            return
        }
        #expect(reason == "bytes between its sections are not zero")
    }

    @Test func `a flipped bit in header or table is refused`() {
        for place in 0..<64 + 10 * 32 {
            var bytes = Self.file
            bytes[place] ^= 1 << (place % 8)
            #expect(failure(bytes) != nil, "byte \(place)")
        }
    }

    @Test func `sections that do not fit together are refused by name`() {
        var contents = TinyModel.contents
        contents.pieceCount = 3
        guard case .section(_, "phrases", _) = failure(contents.serialized()) else {
            Issue.record("600 pieces where 3 are announced were not refused")
            return
        }
        contents = TinyModel.contents
        contents.thresholds.removeLast()
        guard case .section(_, "rules", _) = failure(contents.serialized()) else {
            Issue.record("rules without a threshold were not refused")
            return
        }
        contents = TinyModel.contents
        contents.temperature = .nan
        guard case .section(_, "shape", _) = failure(contents.serialized()) else {
            Issue.record("a temperature that is no number was not refused")
            return
        }
        contents = TinyModel.contents
        contents.couplings[3] = .infinity
        guard case .section(_, "gates", _) = failure(contents.serialized()) else {
            Issue.record("an infinite number was not refused")
            return
        }
        contents = TinyModel.contents
        contents.selfTest.vector.removeLast()
        guard case .section(_, "selftest", _) = failure(contents.serialized()) else {
            Issue.record("a short self-test vector was not refused")
            return
        }
        contents = TinyModel.contents
        contents.pieceModel = [1, 2, 3]
        guard case .section(_, "pieces", _) = failure(contents.serialized()) else {
            Issue.record("a foreign SentencePiece model was not refused")
            return
        }
    }

}

extension [UInt8] {
    /// The file with a bit set just before the second section, where padding stands.
    fileprivate var withGapByte: [UInt8] {
        var result = self
        let offset = withUnsafeBytes { Int($0.loadUnaligned(fromByteOffset: 64 + 32 + 16, as: UInt64.self)) }
        result[offset - 1] ^= 1
        return result
    }
}
