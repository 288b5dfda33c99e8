import Foundation
import SAEEngine
import Testing

/// What lies in deploy/models, as a user gets it.
@Suite struct ShippedModelTests {
    private let path = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "deploy/models/default.sae").path

    @Test func `it opens, gives the vector that it was written with, and has 8 to 16 MB`() throws {
        let engine = try Engine(contentsOf: path)
        try engine.selfTest()
        #expect(engine.dimensions == 256 && engine.vocabularyCount == 32_000)
        let size = try #require(FileManager.default.attributesOfItem(atPath: path)[.size] as? Int)
        #expect((8_000_000...16_000_000).contains(size))
    }

    @Test func `it reads order, which no sum of words does`() throws {
        let engine = try Engine(contentsOf: path)
        let texts = TextBatch(["dogs bite men", "men bite dogs"])
        func similarity(_ temperature: Temperature) -> Float {
            let batch = engine.embed(texts, temperature: temperature, threads: 1)
            return zip(batch.vector(0), batch.vector(1)).reduce(0) { $0 + $1.0 * $1.1 }
        }
        #expect(similarity(.infinite) > 0.9999 && similarity(.fitted) < 0.999)
    }
}
