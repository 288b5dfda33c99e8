import Daemon
import SAEClient
import SAEEngine
import TestSupport
import Testing

/// `Client.embedStream` against a daemon.
@Suite struct EmbeddingStreamTests {
    private func stream(_ texts: [String]) -> AsyncStream<String> {
        AsyncStream { continuation in
            for text in texts { continuation.yield(text) }
            continuation.finish()
        }
    }

    @Test(arguments: [0, 1, 256, 257, 5_000])
    func `a sequence of texts comes back in order, with the engine's bits`(count: Int) async throws {
        let fixture = try ServiceFixture { $0.initialWindow = 65_536 }
        let texts = GeneratedText.sentences(count, seed: 7)
        let client = try await Client(connectingTo: fixture.unixEndpoint)
        var (bytes, rows): ([UInt8], Int) = ([], 0)
        for try await part in client.embedStream(stream(texts)) {
            #expect(part.generation == fixture.engine.generation)
            bytes += part.bytes
            rows += part.count
        }
        #expect(rows == count)
        #expect(bytes == fixture.vectors(texts).vectors.withUnsafeBytes { Array($0) })
        client.close()
    }

    @Test func `who takes nothing is asked for no more than a few chunks`() async throws {
        let fixture = try ServiceFixture()
        let client = try await Client(connectingTo: fixture.unixEndpoint)
        let asked = Counter()
        let endless = AsyncStream<String> {
            await asked.add()
            return "a dog"
        }
        var iterator = client.embedStream(endless).makeAsyncIterator()
        #expect(try await iterator.next()?.count == 256)
        #expect(await asked.count <= 5 * 256)
        client.close()
    }

    private actor Counter {
        private(set) var count = 0
        func add() { count += 1 }
    }

    @Test func `more streams than the daemon takes at once wait for their turn`() async throws {
        let fixture = try ServiceFixture { $0.maximumStreamingPerConnection = 1 }
        var options = ClientOptions()
        options.maximumConnections = 2
        let client = try await Client(connectingTo: fixture.unixEndpoint, options: options)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for seed in 0..<12 {
                group.addTask {
                    let texts = GeneratedText.sentences(600, seed: UInt64(seed))
                    var bytes: [UInt8] = []
                    for try await part in client.embedStream(stream(texts)) { bytes += part.bytes }
                    #expect(bytes == fixture.vectors(texts).vectors.withUnsafeBytes { Array($0) })
                }
            }
            try await group.waitForAll()
        }
        client.close()
    }

    @Test func `a failure of a text's row is a value, and one of the stream is thrown`() async throws {
        let fixture = try ServiceFixture()
        let client = try await Client(connectingTo: fixture.unixEndpoint)
        for try await part in client.embedStream(stream(["a dog", "", "a cat"])) { #expect(part.errors.map(\.index) == [1]) }
        var options = EmbedOptions()
        options.generation = 1
        await #expect(throws: ClientError.self) {
            for try await _ in client.embedStream(stream(["a dog"]), options: options) {}
        }
        client.close()
    }
}
