import TestPeers
import Testing
import Wire

@Suite struct FrameDecoderTests {
    private let stream = frame(.ping, attachment: [1, 2, 3, 4, 5, 6, 7, 8], checksum: true)
        + frame(.request, flags: .last, method: 1, stream: 1, message: [10, 1, 3], attachment: [65, 66, 67])
        + frame(.cancel, stream: 1)

    private func frames(_ portions: [ArraySlice<UInt8>]) throws -> [Frame] {
        var decoder = FrameDecoder(maximumFrameBytes: 65_536)
        var result: [Frame] = []
        for portion in portions {
            result += try decoder.frames(in: portion)
        }
        #expect(decoder.isIdle && decoder.bufferedBytes == 0)
        return result
    }

    @Test func `frames are the same however their bytes are cut`() throws {
        let whole = try frames([stream[...]])
        #expect(whole.map(\.header.type) == [.ping, .request, .cancel])
        #expect(whole[1].message == [10, 1, 3] && whole[1].attachment == [65, 66, 67])
        #expect(try frames(stream.indices.map { stream[$0...$0] }) == whole)
        for cut in stream.indices { #expect(try frames([stream[..<cut], stream[cut...]]) == whole) }
    }

    @Test func `an announced length reserves nothing`() throws {
        var decoder = FrameDecoder(maximumFrameBytes: 67_108_864)
        let announced = frame(.request, flags: .last, method: 1, stream: 1) { bytes in
            withUnsafeBytes(of: UInt32(67_108_864).littleEndian) { bytes.replaceSubrange(12..<16, with: $0) }
        }
        #expect(try decoder.frames(in: announced + [1, 2, 3]).isEmpty)
        #expect(decoder.bufferedBytes == 31 && !decoder.isIdle)
    }

    @Test func `a wrong magic is found at its first wrong byte`() {
        for length in 1...4 {
            var decoder = FrameDecoder(maximumFrameBytes: 65_536)
            let bytes = Array("SAE1".utf8.prefix(length - 1)) + [0x20]
            #expect(throws: Violation.badMagic) { try decoder.frames(in: bytes) }
        }
    }

    @Test func `random bytes never crash and never leave a frame over the limit`() {
        var random = SplitMix(state: 42)
        for _ in 0..<2_000 {
            var bytes = stream
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            var decoder = FrameDecoder(maximumFrameBytes: 65_536)
            while let first = bytes.first, let frame = try? decoder.frames(in: [first]) {
                bytes.removeFirst()
                #expect(frame.allSatisfy { $0.payloadCount <= 65_536 && Int($0.header.messageLength) <= $0.payloadCount })
            }
        }
    }
}

/// A seeded generator (SplitMix64).
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
