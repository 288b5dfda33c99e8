import Bytes
import Foundation
import TestSupport
import Testing

struct JSONReaderTests {
    /// True when the reader takes all of `text` as one value.
    private func isTaken(_ bytes: [UInt8]) -> Bool {
        do throws(JSONError) {
            var reader = try JSONReader(bytes)
            try reader.skip()
            try reader.finish()
            return true
        } catch { return false }
    }

    @Test(arguments: [
        "{}", "[]", " [ ] ", "0", "-0", "10", "1.5e-3", "1E+9", "true", "false", "null", "\"\"", "[1,[2,{\"a\":null}],\"x\"]",
        "{\"a\":{\"b\":[true]},\"c\":-0.1}\n", "\"\\u00e9\\ud83d\\ude00\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
    ])
    func `JSON is taken`(_ text: String) { #expect(isTaken(Array(text.utf8))) }

    @Test(arguments: [
        "", " ", "{", "[", "{]", "[}", "[1,]", "{\"a\":1,}", "[,1]", "{,}", "[1 2]", "{\"a\" 1}", "{\"a\":}", "{a:1}", "{1:2}",
        "01", "-", "1.", ".5", "1e", "+1", "0x1", "NaN", "Infinity", "nul", "tru", "True", "'a'", "\"a", "\"\u{1}\"", "\"\\x\"",
        "\"\\u12\"", "\"\\u12g4\"", "\"\\ud800\"", "\"\\ud800x\"", "\"\\ud800\\u0041\"", "\"\\udc00\"", "[1]]", "1 1", "{} x",
        "[1]//", "\u{feff}1",
    ])
    func `what is no JSON is refused`(_ text: String) { #expect(!isTaken(Array(text.utf8)), "\(text)") }

    @Test(arguments: [[0x22, 0xff, 0x22], [0x22, 0xc0, 0x80, 0x22], [0x22, 0xed, 0xa0, 0x80, 0x22], [0x22, 0xc3]] as [[UInt8]])
    func `bytes that are not UTF-8 are refused`(_ bytes: [UInt8]) { #expect(!isTaken(bytes)) }

    @Test func `nesting is bounded`() {
        let nested = { String(repeating: "[", count: $0) + String(repeating: "]", count: $0) }
        #expect(isTaken(Array(nested(16).utf8)) && !isTaken(Array(nested(17).utf8)))
        #expect(!isTaken([UInt8](repeating: UInt8(ascii: "["), count: 1_000_000)))
    }

    @Test func `values are read as they stand`() throws {
        let text = #" { "a" : [ "x\u00e9\ud83d\ude00\n" , "" ] , "b" : -12 , "c" : 1.0, "d":true,"e":null, "f":99999999999999999999 } "#
        var reader = try JSONReader(Array(text.utf8))
        try reader.enterObject()
        #expect(try reader.nextMember() == "a")
        try reader.enterArray()
        #expect(try reader.nextElement())
        #expect(try reader.string() == "xé😀\n")
        #expect(try reader.nextElement())
        #expect(try reader.string() == "")
        #expect(try !reader.nextElement())
        #expect(try reader.nextMember() == "b")
        #expect(try reader.integer() == -12)
        #expect(try reader.nextMember() == "c")
        #expect(try reader.integer() == nil)
        #expect(try reader.nextMember() == "d")
        #expect(try reader.truth())
        #expect(try reader.nextMember() == "e")
        #expect(try reader.kind() == .null)
        try reader.null()
        #expect(try reader.nextMember() == "f")
        #expect(try reader.integer() == nil)
        #expect(try reader.nextMember() == nil)
        try reader.finish()
    }

    @Test func `the reader agrees with Foundation on mutated JSON`() throws {
        let seeds = [#"{"input":["a dog","\u00fcber"],"model":"m","dimensions":64,"x":[1.5e3,true,null,{}]}"#, #"[[1,2],{"a":"\ud83d\ude00"}]"#]
        var random = SeededRandom(seed: 12)
        var taken = 0
        for _ in 0..<20_000 {
            var bytes = Array(seeds.randomElement(using: &random, or: "").utf8)
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let at = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[at] = UInt8.random(in: 32..<127, using: &random)
                case 1: bytes.remove(at: at)
                default: bytes.insert(Array("{}[],:\"\\0e-".utf8).randomElement(using: &random, or: 0x20), at: at)
                }
            }
            // Foundation takes a comma before the end, and may take lone surrogates.
            let text = String(decoding: bytes, as: UTF8.self)
            let isLenient = ["\\ud8", "\\udc", "\\ude", ",]", ",}"].contains { text.contains($0) }
            guard !isLenient else { continue }
            let expected = (try? JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed)) != nil
            taken += expected ? 1 : 0
            #expect(isTaken(bytes) == expected, "\(text)")
        }
        #expect(taken > 2_000)
    }
}

extension Array {
    fileprivate func randomElement(using random: inout SeededRandom, or other: Element) -> Element {
        randomElement(using: &random) ?? other
    }
}
