import Foundation
import Messages
import SwiftProtobuf
import Testing
import Wire

/// A frame of the specification with what it means, written as `proto-spec/vectors/NAME.hex` and `NAME.json`.
struct GoldenFrame: Sendable, CustomTestStringConvertible {
    let name: String
    let meaning: String
    /// "client", "server" or "both".
    let from: String
    var header: FrameHeader
    var message: (any SwiftProtobuf.Message)?
    var attachment: [UInt8] = []
    /// Bytes behind the message's known fields: a field of a later version.
    var unknown: [UInt8] = []
    var crc = false

    var testDescription: String { name }

    init(
        _ name: String, _ meaning: String, from: String, _ type: FrameType, flags: FrameFlags = [],
        method: Method? = nil, stream: UInt32 = 0, argument: UInt32 = 0,
        message: (any SwiftProtobuf.Message)? = nil, attachment: [UInt8] = [], unknown: [UInt8] = [],
        crc: Bool = false
    ) {
        self.name = name
        self.meaning = meaning
        self.from = from
        header = FrameHeader(type, stream: stream)
        header.flags = flags
        header.method = method?.rawValue ?? 0
        header.argument = argument
        self.message = message
        self.attachment = attachment
        self.unknown = unknown
        self.crc = crc
    }

    func messageBytes() throws -> [UInt8] {
        guard let message else { return [] }
        var options = BinaryEncodingOptions()
        options.useDeterministicOrdering = true
        let bytes: [UInt8] = try message.serializedBytes(options: options)
        return bytes + unknown
    }

    func encoded() throws -> [UInt8] {
        var bytes: [UInt8] = []
        FrameEncoder.append(
            header, message: try messageBytes(), attachment: attachment, withCRC: crc, to: &bytes)
        return bytes
    }

    func json() throws -> String {
        var options = JSONEncodingOptions()
        options.preserveProtoFieldNames = true
        options.useDeterministicOrdering = true
        let typeName = message.map { type(of: $0).protoMessageName.split(separator: ".").last.map(String.init) ?? "" }
        let flags = [
            header.flags.contains(.last) ? "LAST" : nil, crc ? "CRC" : nil,
            header.flags.contains(.refused) ? "REFUSED" : nil,
            header.flags.contains(.acknowledgement) ? "ACK" : nil,
        ].compactMap { $0 }.map { "\"\($0)\"" }.joined(separator: ", ")
        return """
            {
              "meaning": "\(meaning)",
              "from": "\(from)",
              "type": "\(Self.typeNames[Int(header.type.rawValue)])",
              "flags": [\(flags)],
              "method": \(header.method),
              "stream": \(header.stream),
              "arg": \(header.argument),
              "message_type": "\(typeName ?? "")",
              "message": \(try message?.jsonString(options: options) ?? "{}"),
              "unknown": "\(hex(unknown))",
              "attachment": "\(hex(attachment))"
            }

            """
    }

    private static let typeNames = [
        "", "HELLO", "REQUEST", "MESSAGE", "END", "CANCEL", "CREDIT", "PING", "GOAWAY",
    ]
}

func hex(_ bytes: [UInt8]) -> String {
    bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
}

func bytes(hex text: String) -> [UInt8] {
    let digits = text.filter { $0.isHexDigit }.compactMap { $0.hexDigitValue }
    return stride(from: 0, to: digits.count - 1, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
}

func littleEndian(_ values: [Float]) -> [UInt8] {
    values.flatMap { value in withUnsafeBytes(of: value.bitPattern.littleEndian) { Array($0) } }
}

extension GoldenFrame {
    static let all: [GoldenFrame] = opening + embedding + answers + others + streams + jobs

    private static let generation: UInt64 = 0x0123_4567_89ab_cdef

    private static let opening = [
        GoldenFrame(
            "hello-client-min", "the least a client may say", from: "client", .hello,
            message: Sae_V1_Hello.with {
                $0.versionMin = 1
                $0.versionMax = 1
                $0.maxFrameBytes = 65_536
                $0.initialWindow = 65_536
            }),
        GoldenFrame(
            "hello-client-token-crc", "a client with a token that wants a CRC on every frame", from: "client",
            .hello,
            message: Sae_V1_Hello.with {
                $0.versionMin = 1
                $0.versionMax = 1
                $0.software = "sae-python/1.0"
                $0.token = "sae_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
                $0.maxFrameBytes = 4_194_304
                $0.initialWindow = 1_048_576
                $0.features = 1
            }, crc: true),
        GoldenFrame(
            "hello-server", "the server agrees to version 1 and to CRC", from: "server", .hello,
            message: Sae_V1_Hello.with {
                $0.versionMin = 1
                $0.versionMax = 1
                $0.software = "sae/0.1.0"
                $0.maxFrameBytes = 4_194_304
                $0.initialWindow = 1_048_576
                $0.features = 1
                $0.connectionID = 7
                $0.roles = ["embed", "metrics"]
                $0.generation = generation
                $0.limits = ["limits.max_text_bytes": 65_536, "limits.max_texts_per_request": 2_048]
            }),
        goAway("goaway-unsupported-version", "no common version", 12, 0, "unsupported_version"),
        goAway("goaway-draining-1", "the server will stop soon and still serves", 0, 0x7fff_ffff, "draining"),
        goAway("goaway-draining-2", "the server finishes streams up to 41", 0, 41, "draining"),
        goAway("goaway-bad-crc", "a checksum differed", 13, 5, "bad_crc"),
        GoldenFrame(
            "ping", "the worked example: are you there?", from: "both", .ping,
            attachment: [1, 2, 3, 4, 5, 6, 7, 8], crc: true),
        GoldenFrame(
            "ping-ack", "the echo of a PING", from: "both", .ping, flags: .acknowledgement,
            attachment: [1, 2, 3, 4, 5, 6, 7, 8]),
    ]

    private static func goAway(
        _ name: String, _ meaning: String, _ code: UInt32, _ last: UInt32, _ reason: String
    ) -> GoldenFrame {
        let message = Sae_V1_GoAway.with {
            $0.lastStreamID = last
            $0.reason = reason
        }
        return GoldenFrame(name, meaning, from: "server", .goAway, argument: code, message: message)
    }

    private static func embed(_ lengths: [UInt32]) -> Sae_V1_EmbedRequest { .with { $0.lengths = lengths } }

    private static let embedding = [
        GoldenFrame(
            "embed-1", "one text, default timeout", from: "client", .request, flags: .last, method: .embed,
            stream: 1, message: embed([5]), attachment: Array("hello".utf8)),
        GoldenFrame(
            "crc-on-everything", "the worked example: hello and world, 250 ms, with CRC", from: "client",
            .request, flags: .last, method: .embed, stream: 1, argument: 250_000, message: embed([5, 5]),
            attachment: Array("helloworld".utf8), crc: true),
        GoldenFrame(
            "embed-3-unicode-nul-invalid-utf8", "any bytes are a text", from: "client", .request, flags: .last,
            method: .embed, stream: 3, message: embed([12, 3, 2]),
            attachment: Array("Grüße, 世".utf8) + [0x61, 0, 0x62] + [0xff, 0xc0]),
        GoldenFrame(
            "embed-f16-dims64", "64 leading dimensions in binary16 of one generation", from: "client",
            .request, flags: .last, method: .embed, stream: 5,
            message: Sae_V1_EmbedRequest.with {
                $0.lengths = [2]
                $0.encoding = .f16
                $0.dimensions = 64
                $0.truncate = true
                $0.ifGeneration = generation
                $0.wantPieces = true
                $0.temperature = 0.5
            }, attachment: Array("ok".utf8)),
        GoldenFrame(
            "max-stream-id", "the last stream of a connection", from: "client", .request, flags: .last,
            method: .embed, stream: 0x7fff_ffff, message: embed([1]), attachment: Array("x".utf8)),
        GoldenFrame(
            "empty-message", "Info asks nothing", from: "client", .request, flags: .last, method: .info,
            stream: 1, message: Sae_V1_InfoRequest()),
        GoldenFrame(
            "unknown-field", "field 99 of a later version is ignored", from: "client", .request, flags: .last,
            method: .embed, stream: 1, message: embed([2]), attachment: Array("ok".utf8),
            unknown: [0x98, 0x06, 0x2a]),
    ]

    /// Two rows of 8 dimensions: extremes, a zero of either sign, ties between integers; and a zero row.
    static let vectors: [Float] = [127, 0.5, 1.5, 2.5, -0.5, -1.5, -0.0, 3] + [0, 0, 0, 0, 0, 0, 0, 0]

    private static func answer(_ encoding: Sae_V1_Encoding) -> Sae_V1_EmbedResponse {
        .with {
            $0.count = 2
            $0.dimensions = 8
            $0.encoding = encoding
            $0.generation = generation
            $0.queueUs = 12
            $0.computeUs = 345
        }
    }

    private static func embedAnswer(
        _ name: String, _ meaning: String, _ encoding: Sae_V1_Encoding, _ attachment: [UInt8]
    ) -> GoldenFrame {
        GoldenFrame(
            name, meaning, from: "server", .message, flags: .last, stream: 1, message: answer(encoding),
            attachment: attachment)
    }

    private static let answers = [
        embedAnswer("embed-answer-f32", "binary32: 127 0.5 1.5 2.5 -0.5 -1.5 -0 3, and a zero row", .f32,
            littleEndian(vectors)),
        embedAnswer("embed-answer-f16", "the same in binary16", .f16,
            vectors.flatMap { value in withUnsafeBytes(of: Float16(value).bitPattern.littleEndian) { Array($0) } }),
        embedAnswer("embed-answer-int8", "the same as int8: scale 1, ties to even; a zero row has scale 0", .int8,
            [127, 0, 2, 2, 0, 0xfe, 0, 3] + [UInt8](repeating: 0, count: 8) + littleEndian([1, 0])),
        embedAnswer("embed-answer-binary", "the same as bits: -0 and 0 are not above zero", .binary,
            [0b1111_0001, 0]),
        GoldenFrame(
            "embed-answer-row-errors", "the second text of two has no vector", from: "server", .message,
            flags: .last, stream: 3,
            message: Sae_V1_EmbedResponse.with {
                $0 = answer(.f32)
                $0.dimensions = 1
                $0.errors = [
                    .with {
                        $0.index = 1
                        $0.code = 3
                        $0.message = "the text is longer than the limit"
                        $0.limit = "limits.max_text_bytes"
                    }
                ]
                $0.pieces = [3, 0]
                $0.truncated = [0]
            }, attachment: littleEndian([1, 0])),
        GoldenFrame(
            "end-invalid-argument", "a request without any text", from: "server", .end, stream: 9, argument: 3,
            message: Sae_V1_Status.with { $0.message = "no text" }),
        GoldenFrame(
            "end-refused", "the worked example: the queue is full, try again in 40 ms", from: "server", .end,
            flags: .refused, stream: 3, argument: 8,
            message: Sae_V1_Status.with {
                $0.limit = "queue.max_texts"
                $0.retryAfterMs = 40
            }),
        GoldenFrame(
            "end-deadline", "the deadline has passed; the status says no more", from: "server", .end,
            stream: 11, argument: 4, message: Sae_V1_Status()),
    ]

    private static let others = [
        GoldenFrame(
            "credit", "the worked example: 524288 bytes more", from: "both", .credit, stream: 5,
            argument: 524_288),
        GoldenFrame("cancel", "the answer is no longer wanted", from: "client", .cancel, stream: 7),
        GoldenFrame(
            "similarity-2x3", "two rows against three columns", from: "client", .request, flags: .last,
            method: .similarity, stream: 1,
            message: Sae_V1_SimilarityRequest.with {
                $0.lengths = [1, 1, 1, 1, 1]
                $0.left = 2
            }, attachment: Array("abcde".utf8)),
        GoldenFrame(
            "similarity-2x3-answer", "six cosines, row by row", from: "server", .message, flags: .last,
            stream: 1,
            message: Sae_V1_SimilarityResponse.with {
                $0.rows = 2
                $0.columns = 3
                $0.generation = generation
            }, attachment: littleEndian([1, 0.5, 0.25, -1, 0, 0.75])),
        GoldenFrame(
            "tokenize-spans", "ids, pieces and spans are wanted", from: "client", .request, flags: .last,
            method: .tokenize, stream: 1,
            message: Sae_V1_TokenizeRequest.with {
                $0.lengths = [2]
                $0.wantText = true
                $0.wantSpans = true
            }, attachment: Array("hi".utf8)),
        GoldenFrame(
            "tokenize-spans-answer", "one text of one piece", from: "server", .message, flags: .last, stream: 1,
            message: Sae_V1_TokenizeResponse.with {
                $0.texts = [
                    .with {
                        $0.ids = [5]
                        $0.pieces = [.init("▁hi".utf8)]
                        $0.begins = [0]
                        $0.ends = [2]
                    }
                ]
                $0.generation = generation
            }),
        GoldenFrame(
            "info", "what a server is", from: "server", .message, flags: .last, stream: 1,
            message: Sae_V1_InfoResponse.with {
                $0.server = "sae/0.1.0"
                $0.model = "sae-base"
                $0.generation = generation
                $0.generationDigest = .init([0xef, 0xcd, 0xab, 0x89])
                $0.dimensions = 256
                $0.vocabulary = 32_000
                $0.scorer = "cpu-2"
                $0.workers = 2
                $0.uptimeMs = 1_234
                $0.state = "serving"
                $0.limits = ["limits.max_frame_bytes": 4_194_304]
                $0.versionMin = 1
                $0.versionMax = 1
            }),
        GoldenFrame(
            "health-check", "does it embed?", from: "client", .request, flags: .last, method: .healthCheck,
            stream: 1, message: Sae_V1_HealthCheckRequest.with { $0.service = "sae.v1.Embedding" }),
        GoldenFrame(
            "health-check-answer", "it does", from: "server", .message, flags: .last, stream: 1,
            message: Sae_V1_HealthCheckResponse.with { $0.status = .serving }),
    ]

    private static let streams = [
        GoldenFrame(
            "embedstream-open", "a stream of all dimensions as int8", from: "client", .request, method: .embedStream,
            stream: 1, message: Sae_V1_EmbedRequest.with { $0.encoding = .int8 }),
        GoldenFrame(
            "embedstream-chunk", "its last chunk: two texts", from: "client", .message, flags: .last, stream: 1,
            message: Sae_V1_EmbedChunk.with { $0.lengths = [5, 5] }, attachment: Array("a doga cat".utf8)),
        GoldenFrame(
            "embedstream-answer", "the vectors of a chunk: one text, two dimensions", from: "server", .message, stream: 1,
            message: Sae_V1_EmbedResponse.with {
                $0.count = 1
                $0.dimensions = 2
                $0.generation = generation
            }, attachment: littleEndian([0.6, 0.8])),
        GoldenFrame(
            "embedstream-end", "all chunks are answered", from: "server", .end, stream: 1),
        GoldenFrame(
            "trace", "how does it become its vector?", from: "client", .request, flags: .last, method: .trace, stream: 1,
            attachment: Array("a dog".utf8)),
        GoldenFrame(
            "trace-answer", "the attachment is JSON of schema 1", from: "server", .message, flags: .last, stream: 1,
            message: Sae_V1_TraceResponse.with {
                $0.schema = 1
                $0.generation = generation
            }, attachment: Array("{}".utf8)),
        GoldenFrame(
            "health-watch", "tell me of the daemon's health", from: "client", .request, flags: .last,
            method: .healthWatch, stream: 3),
        GoldenFrame(
            "health-watch-answer", "it does not serve any more", from: "server", .message, stream: 3,
            message: Sae_V1_HealthCheckResponse.with { $0.status = .notServing }),
        GoldenFrame(
            "reload-answer", "another generation serves; a limit is new, a setting waits for a restart", from: "server", .message,
            flags: .last, stream: 5,
            message: Sae_V1_ReloadResponse.with {
                $0.before = generation
                $0.after = generation + 1
                $0.changed = ["limits.max_text_bytes"]
                $0.needsRestart = ["workers.count"]
            }),
        GoldenFrame(
            "drain", "stop, with ten seconds for what is under way", from: "client", .request, flags: .last, method: .drain,
            stream: 7, message: Sae_V1_DrainRequest.with { $0.graceMs = 10_000 }),
        GoldenFrame(
            "drain-answer", "two streams on one connection were open", from: "server", .message, flags: .last, stream: 7,
            message: Sae_V1_DrainResponse.with {
                $0.streams = 2
                $0.connections = 1
            }),
    ]
}
