import Daemon
import SAEClient
import SAEEngine
import TestPeers
import TestSupport
import Testing

struct EmbeddingTests {
    @Test func `a client keeps what is under way inside the output that a connection may reserve`() async throws {
        let fixture = try ServiceFixture {
            $0.maximumConnectionOutputBytes = 1_100_000
            $0.maximumTextsPerRequest = 256
        }
        let client = try await Client(connectingTo: fixture.unixEndpoint)
        // Eight requests of 256 texts would reserve 2.2 MB.
        let texts = GeneratedText.sentences(3_000, seed: 8)
        let answer = try await client.embed(texts, timeout: .seconds(60) * patience)
        #expect(answer.errors.isEmpty)
        #expect(answer.vectors.map(\.bitPattern) == fixture.vectors(texts).vectors.map(\.bitPattern))
    }

    private let texts = ["The cat watches the river.", "a dog", "Über die Brücke 🙂", "x"]

    @Test(arguments: [true, false])
    func `a vector over the socket has the bits of one in process`(overTCP: Bool) async throws {
        let fixture = try ServiceFixture()
        let client = try await Client(connectingTo: overTCP ? fixture.tcpEndpoint : fixture.unixEndpoint)
        let answer = try await client.embed(texts)
        #expect(answer.vectors.map(\.bitPattern) == fixture.vectors(texts).vectors.map(\.bitPattern))
        #expect(answer.generation == fixture.engine.generation)
        for text in texts {
            let alone = try await client.embed([text])
            #expect(alone.vectors.map(\.bitPattern) == fixture.vectors([text]).vectors.map(\.bitPattern))
        }
    }

    @Test func `a request of many slices comes back in order`() async throws {
        let fixture = try ServiceFixture { $0.batchMaximumTexts = 7 }
        let client = try await Client(connectingTo: fixture.unixEndpoint)
        let many = GeneratedText.sentences(500, seed: 9)
        let answer = try await client.embed(many)
        #expect(answer.vectors.map(\.bitPattern) == fixture.vectors(many).vectors.map(\.bitPattern))
    }

    @Test func `a bad text fails its row and no other`() async throws {
        let fixture = try ServiceFixture { $0.maximumTextBytes = 20 }
        let client = try await Client(connectingTo: fixture.unixEndpoint)
        let answer = try await client.embed(["a dog", "", String(repeating: "long ", count: 5), "x"])
        #expect(answer.errors.map(\.index) == [1, 2])
        #expect(answer.errors.map(\.limit) == ["", "limits.max_text_bytes"])
        #expect(answer[1].allSatisfy { $0.bitPattern == 0 })
        #expect(answer[3].map(\.bitPattern) == fixture.vectors(["x"]).vectors.map(\.bitPattern))
    }

    @Test func `the temperature of a request is the engine's, bit for bit`() async throws {
        let fixture = try ServiceFixture()
        let client = try await Client(connectingTo: fixture.unixEndpoint)
        var seen: Set<[UInt32]> = []
        for degrees: Float in [0, 0.25, 2, 6, 16] {
            var options = EmbedOptions()
            options.temperature = degrees
            let bits = try await client.embed(texts, options: options).vectors.map(\.bitPattern)
            let temperature = degrees == 0 ? .fitted : try #require(Temperature(degrees))
            let expected = fixture.vectors(texts.map { Array($0.utf8) }, temperature: temperature)
            #expect(bits == expected.vectors.map(\.bitPattern), "\(degrees)")
            seen.insert(bits)
        }
        #expect(seen.count == 5)
        #expect(Temperature(EmbedOptions.classificationTemperature) == .classification)
        #expect(EmbedOptions.similarityTemperature == 0 && Temperature.similarity == .fitted)
    }

    @Test(arguments: [0.2, 17, .nan, -1, .infinity] as [Float])
    func `a temperature out of range is an invalid argument`(degrees: Float) async throws {
        let fixture = try ServiceFixture()
        let client = try await Client(connectingTo: fixture.unixEndpoint)
        var options = EmbedOptions()
        options.temperature = degrees
        do throws(ClientError) {
            _ = try await client.embed(texts, options: options)
            Issue.record("accepted")
        } catch { #expect(error.code == .invalidArgument) }
    }

    @Test func `similarity is the cosine of the vectors`() async throws {
        let fixture = try ServiceFixture()
        let client = try await Client(connectingTo: fixture.unixEndpoint)
        let matrix = try await client.similarity(texts)
        let batch = fixture.vectors(texts)
        #expect(matrix.rows == 4 && matrix.columns == 4)
        for row in 0..<4 {
            for column in 0..<4 {
                let expected = zip(batch.vector(row), batch.vector(column)).reduce(0) { $0 + $1.0 * $1.1 }
                #expect(abs(matrix.cosines[row * 4 + column] - expected) < 1e-5)
            }
        }
    }

    @Test func `info and health tell what serves`() async throws {
        let fixture = try ServiceFixture()
        let client = try await Client(connectingTo: fixture.unixEndpoint)
        let info = try await client.information()
        #expect(info.dimensions == fixture.engine.dimensions)
        #expect(info.limits["limits.max_texts_per_request"] == 2_048)
        #expect(try await client.health() == .serving)
    }

    @Test func `no text reaches log or metrics`() async throws {
        let fixture = try ServiceFixture { $0.logSlowRequest = .milliseconds(1) }
        let client = try await Client(connectingTo: fixture.unixEndpoint)
        let canary = "zyxcanary"
        _ = try await client.embed([canary, ""])
        _ = try await client.similarity([canary, canary])
        _ = try await client.tokenize([canary])
        do { _ = try await client.similarity([canary, ""]) } catch { #expect(!error.description.contains(canary)) }
        client.close()
        #expect(await eventually { fixture.log.contains { $0.contains("connection_close") } })
        #expect(fixture.log.allSatisfy { !$0.contains(canary) })
        #expect(!fixture.service.metricsPage().contains(canary))
    }
}
