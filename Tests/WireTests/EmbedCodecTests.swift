import Messages
import SwiftProtobuf
import Testing
import Wire

/// The hand-written codecs against the generated types.
@Suite struct EmbedCodecTests {
    private func decode(_ bytes: [UInt8], most: Int = 4_096) throws(EmbedRequestFields.Failure) -> EmbedRequestFields {
        var fields = EmbedRequestFields()
        var failure: EmbedRequestFields.Failure?
        bytes.withUnsafeBytes { buffer in
            do throws(EmbedRequestFields.Failure) { try fields.decode(buffer, maximumTexts: most) } catch { failure = error }
        }
        if let failure { throw failure }
        return fields
    }

    private func randomRequest(_ random: inout SplitMix) -> Sae_V1_EmbedRequest {
        .with { request in
            request.lengths = (0..<Int.random(in: 0...40, using: &random)).map { _ in
                UInt32.random(in: 0...UInt32.max, using: &random) >> UInt32.random(in: 0...31, using: &random)
            }
            request.encoding = Sae_V1_Encoding(rawValue: Int.random(in: 0...5, using: &random)) ?? .f32
            request.dimensions = UInt32.random(in: 0...300, using: &random)
            request.truncate = Bool.random(using: &random)
            request.ifGeneration = UInt64.random(in: 0...UInt64.max, using: &random)
            request.wantPieces = Bool.random(using: &random)
            request.temperature = Float.random(in: 0...16, using: &random)
        }
    }

    private func expectSame(_ fields: EmbedRequestFields, _ request: Sae_V1_EmbedRequest) {
        #expect(fields.lengths == request.lengths)
        #expect(fields.encoding == UInt32(truncatingIfNeeded: request.encoding.rawValue))
        #expect(fields.dimensions == request.dimensions && fields.truncate == request.truncate)
        #expect(fields.ifGeneration == request.ifGeneration && fields.wantPieces == request.wantPieces)
        #expect(fields.temperature.bitPattern == request.temperature.bitPattern)
    }

    @Test func `random requests decode as the generated type decodes them`() throws {
        var random = SplitMix(state: 7)
        for _ in 0..<1_000 {
            let request = randomRequest(&random)
            expectSame(try decode(wireBytes(request)), request)
        }
    }

    @Test func `damaged requests are accepted and refused as by the generated type`() throws {
        var random = SplitMix(state: 8)
        var refused = 0
        for _ in 0..<5_000 {
            var bytes = wireBytes(randomRequest(&random))
            guard !bytes.isEmpty else { continue }
            bytes[Int.random(in: 0..<bytes.count, using: &random)] ^= 1 << UInt8.random(in: 0...7, using: &random)
            guard let request = wireMessage(Sae_V1_EmbedRequest.self, bytes) else {
                refused += 1
                #expect(throws: EmbedRequestFields.Failure.self) { try decode(bytes) }
                continue
            }
            // Groups are a construct of proto2, which the decoder by hand refuses.
            if let fields = try? decode(bytes) { expectSame(fields, request) }
        }
        #expect(refused > 100)
    }

    @Test func `a list of lengths may be packed, split or one by one`() throws {
        #expect(try decode([10, 2, 1, 2, 8, 3, 10, 1, 4]).lengths == [1, 2, 3, 4])
    }

    @Test func `the first length over the limit stops the decoder`() {
        let bytes = wireBytes(Sae_V1_EmbedRequest.with { $0.lengths = Array(repeating: 1, count: 5) })
        #expect(throws: EmbedRequestFields.Failure.tooManyTexts) { try decode(bytes + [0xff], most: 4) }
        #expect(throws: Never.self) { try decode(bytes, most: 5) }
    }

    @Test func `a field of a later version is skipped`() throws {
        let known = wireBytes(Sae_V1_EmbedRequest.with { $0.dimensions = 64 })
        let later: [UInt8] = [0x98, 0x06, 0x2a, 0xa2, 0x06, 2, 1, 2, 0xad, 0x06, 0, 0, 0, 0, 0xb1, 0x06] + [UInt8](repeating: 0, count: 8)
        #expect(try decode(later + known).dimensions == 64)
    }

    @Test func `random answers encode to the bytes of the generated type`() {
        var random = SplitMix(state: 9)
        for _ in 0..<1_000 {
            let count = Int.random(in: 0...20, using: &random)
            let response = Sae_V1_EmbedResponse.with { response in
                response.count = UInt32(count)
                response.dimensions = UInt32.random(in: 0...256, using: &random)
                response.encoding = Sae_V1_Encoding(rawValue: Int.random(in: 0...3, using: &random)) ?? .f32
                response.generation = UInt64.random(in: 0...UInt64.max, using: &random)
                response.errors = (0..<Int.random(in: 0...3, using: &random)).map { index in
                    .with {
                        $0.index = UInt32(index)
                        $0.code = 3
                        $0.message = String(repeating: "é", count: index * 40)
                        $0.limit = index == 0 ? "" : "limits.max_text_bytes"
                    }
                }
                response.pieces = (0..<count).map { _ in UInt32.random(in: 0...20_000, using: &random) }
                response.truncated = Bool.random(using: &random) ? [0, 5] : []
                response.queueUs = UInt32.random(in: 0...UInt32.max, using: &random)
                response.computeUs = UInt32.random(in: 0...500, using: &random)
            }
            var fields = EmbedResponseFields()
            fields.count = response.count
            fields.dimensions = response.dimensions
            fields.encoding = UInt32(response.encoding.rawValue)
            fields.generation = response.generation
            fields.errors = response.errors.map {
                .init(index: $0.index, code: $0.code, message: $0.message, limit: $0.limit)
            }
            fields.pieces = response.pieces
            fields.truncated = response.truncated
            fields.queueMicroseconds = response.queueUs
            fields.computeMicroseconds = response.computeUs
            var bytes: [UInt8] = [7]
            fields.encode(to: &bytes)
            #expect(Array(bytes.dropFirst()) == wireBytes(response))
        }
    }
}
