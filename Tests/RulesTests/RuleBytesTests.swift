import Rules
import TestSupport
import Testing

@Suite struct RuleBytesTests {
    private let generator = GeneratedRules()

    @Test func `bytes read back as the same set`() {
        let failure = forAll(seed: 43, maximumSize: 40) { size, random in
            generator.ruleSet(size: size, using: &random)
        } holds: { rules in
            let bytes = rules.canonicalBytes
            let read = try RuleSet(canonicalBytes: bytes)
            return read == rules && read.canonicalBytes == bytes && rules.canonicalByteCount == bytes.count
        }
        #expect(failure == nil)
    }

    @Test func `a small set has the bytes of the format's drawing`() throws {
        let rules = try RuleSet(
            vocabularyCount: 9, phraseCount: 2, classes: [PieceClass("ab", [3, 1])],
            rules: [
                Rule(.sequence([.record(2), .pieceClass(0)], gaps: [3]), .add, phrase: 1, worth: 1),
                Rule(
                    .trigger(.record(4), near: 0, reach: 5), .replace, phrase: 0, worth: -2, coefficient: 0.5,
                    offset: 2),
            ])
        let header: [UInt8] = [1, 0, 0, 0, 9, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0]
        let pieceClass: [UInt8] = [2, 0, 0, 0, 97, 98, 2, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0]
        let first: [UInt8] = [
            0, 1, 2, 0, 2, 0, 0, 0, 0, 0, 0, 0x80, 3, 1, 0, 0, 0, 0, 0, 0x80, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0,
        ]
        let second: [UInt8] = [
            1, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0x80, 5, 0, 0, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0x3f, 0, 0, 0, 0x40,
        ]
        #expect(rules.canonicalBytes == header + pieceClass + first + second)
    }

    @Test func `every truncation is an error`() throws {
        var random = SeededRandom(seed: 44)
        let bytes = generator.ruleSet(size: 12, using: &random).canonicalBytes
        #expect(bytes.count > 200)
        for count in bytes.indices {
            #expect(throws: RuleError.self) { try RuleSet(canonicalBytes: Array(bytes[..<count])) }
        }
        #expect(throws: RuleError.malformed(offset: bytes.count)) { try RuleSet(canonicalBytes: bytes + [0]) }
    }

    @Test func `every flipped bit is an error or another valid set, with exactly those bytes`() throws {
        var random = SeededRandom(seed: 45)
        var (valid, refused) = (0, 0)
        for _ in 0..<8 {
            let bytes = generator.ruleSet(size: 8, using: &random).canonicalBytes
            for bit in 0..<bytes.count * 8 {
                var damaged = bytes
                damaged[bit / 8] ^= 1 << UInt8(bit % 8)
                do throws(RuleError) {
                    let rules = try RuleSet(canonicalBytes: damaged)
                    #expect(rules.canonicalBytes == damaged)
                    valid += 1
                } catch { refused += 1 }
            }
        }
        #expect(valid > 0 && refused > 0)
    }

    @Test func `random bytes behind a valid header are refused without being believed`() {
        var random = SeededRandom(seed: 46)
        for _ in 0..<500 {
            var bytes: [UInt8] = [1, 0, 0, 0, 9, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]
            bytes += (0..<Int.random(in: 0..<60, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            #expect(throws: RuleError.self) { try RuleSet(canonicalBytes: bytes) }
        }
    }

    @Test func `another version and another order are named`() throws {
        var random = SeededRandom(seed: 47)
        var bytes = generator.ruleSet(size: 5, using: &random).canonicalBytes
        bytes[0] = 2
        #expect(throws: RuleError.unknownVersion(2)) { try RuleSet(canonicalBytes: bytes) }
        let rules = try RuleSet(
            vocabularyCount: 9, phraseCount: 1,
            rules: (1...2).map { Rule(.adjacent(records: $0, 3), .add, phrase: 0, worth: 0) })
        let canonical = rules.canonicalBytes
        let ruleBytes = (canonical.count - 24) / 2
        let swapped = Array(
            canonical[..<24] + canonical[(24 + ruleBytes)...] + canonical[24..<24 + ruleBytes])
        #expect(throws: RuleError.notCanonical) { try RuleSet(canonicalBytes: swapped) }
    }
}
