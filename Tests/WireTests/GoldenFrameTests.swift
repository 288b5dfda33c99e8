import Foundation
import Messages
import SwiftProtobuf
import TestPeers
import Testing
import Wire

/// `proto-spec/vectors`: the frames that a client in another language is tested against.
@Suite struct GoldenFrameTests {
    private static let folder = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().appending(path: "proto-spec/vectors")
    private static let updates = ProcessInfo.processInfo.environment["UPDATE_GOLDEN"] == "1"

    @Test(arguments: GoldenFrame.all)
    func `a golden frame is encoded to its bytes and described by its JSON`(_ golden: GoldenFrame) throws {
        let hexFile = Self.folder.appending(path: golden.name + ".hex")
        let jsonFile = Self.folder.appending(path: golden.name + ".json")
        let encoded = hex(try golden.encoded()) + "\n"
        let json = try golden.json()
        if Self.updates {
            try Data(encoded.utf8).write(to: hexFile)
            try Data(json.utf8).write(to: jsonFile)
        }
        #expect(try String(contentsOf: hexFile, encoding: .utf8) == encoded)
        #expect(try String(contentsOf: jsonFile, encoding: .utf8) == json)
    }

    @Test(arguments: GoldenFrame.all)
    func `a golden file decodes to its meaning and encodes back byte for byte`(_ golden: GoldenFrame) throws {
        let text = try String(contentsOf: Self.folder.appending(path: golden.name + ".hex"), encoding: .utf8)
        let raw = bytes(hex: text)
        let frame = try #require(try decodeOne(raw))
        #expect(frame.header.type == golden.header.type)
        #expect(frame.header.stream == golden.header.stream)
        #expect(frame.header.method == golden.header.method)
        #expect(frame.header.argument == golden.header.argument)
        #expect(Array(frame.message) == (try golden.messageBytes()))
        #expect(Array(frame.attachment) == golden.attachment)
        var again: [UInt8] = []
        var header = frame.header
        header.flags.remove(.crc)
        FrameEncoder.append(
            header, message: frame.message, attachment: frame.attachment,
            withCRC: frame.header.flags.contains(.crc), to: &again)
        #expect(again == raw)
    }

    @Test func `the folder holds the golden frames and nothing else`() throws {
        let files = try FileManager.default.contentsOfDirectory(atPath: Self.folder.path)
        let names = GoldenFrame.all.flatMap { [$0.name + ".hex", $0.name + ".json"] }
        #expect(Set(files) == Set(names))
    }

    /// The bytes that the specification prints, written out once more by hand.
    @Test(arguments: [
        ("ping", "53414531070200000000000008000000000000000000000019 7f5ec7 0102030405060708"),
        (
            "crc-on-everything",
            "5341453102030100010000000e0000000400000090d00300e668af2a 0a020505 68656c6c6f776f726c64"
        ),
        (
            "end-refused",
            "53414531040400000300000013000000130000000800000000000000 120f71756575652e6d61785f74657874732028"
        ),
        ("credit", "53414531060000000500000000000000000000000000080000000000"),
    ])
    func `the worked frames of the specification are golden`(_ name: String, _ expected: String) throws {
        let golden = try #require(GoldenFrame.all.first { $0.name == name })
        #expect(try golden.encoded() == bytes(hex: expected))
    }
}

/// The one frame in `raw`, or nil when it is not whole.
func decodeOne(_ raw: [UInt8]) throws -> Frame? {
    var decoder = FrameDecoder(maximumFrameBytes: 4_194_304)
    let frames = try decoder.frames(in: raw)
    #expect(frames.count <= 1 && (frames.isEmpty || decoder.isIdle))
    return frames.first
}
