import Daemon
import Foundation
import SAEClient
import SAEEngine
import Synchronization
import TestPeers
import TestSupport
import Testing
import Transport

/// The routes of two widespread APIs, in JSON over HTTP.
struct EmbeddingAPITests {
    private let texts = ["The cat watches the river.", "a dog", "Über die Brücke 🙂", "x"]

    private struct OpenAIAnswer<Vector: Decodable & Sendable>: Decodable, Sendable {
        struct Entry: Decodable, Sendable {
            var object: String
            var index: Int
            var embedding: Vector
        }
        struct Usage: Decodable, Sendable {
            var prompt_tokens: Int
            var total_tokens: Int
        }
        var object: String
        var data: [Entry]
        var model: String
        var usage: Usage
    }

    private struct OpenAIError: Decodable {
        struct Inner: Decodable {
            var message: String
            var type: String
            var param: String?
            var code: String?
        }
        var error: Inner
    }

    private struct InferenceError: Decodable {
        var error: String
        var error_type: String
    }

    private func json(_ value: some Encodable) throws -> String { String(decoding: try JSONEncoder().encode(value), as: UTF8.self) }

    private func decoded<Value: Decodable>(_: Value.Type, _ answer: HTTPAnswer) throws -> Value {
        #expect(answer.fields["content-type"] == "application/json")
        return try JSONDecoder().decode(Value.self, from: Data(answer.body))
    }

    private func peer(_ fixture: ServiceFixture) throws -> HTTPPeer {
        try HTTPPeer(try #require(fixture.service.operationsEndpoint))
    }

    @Test func `vectors as numbers and in base64 have the bits of the engine`() async throws {
        let fixture = try ServiceFixture()
        let peer = try peer(fixture)
        let expected = fixture.vectors(texts).vectors.map(\.bitPattern)
        let numbers = try await peer.ask("POST", "/v1/embeddings", "{\"model\":\"any\",\"input\":\(json(texts))}")
        let answer = try decoded(OpenAIAnswer<[Float]>.self, numbers)
        #expect(answer.data.flatMap { $0.embedding.map(\.bitPattern) } == expected)
        #expect(answer.data.map(\.index) == [0, 1, 2, 3] && answer.data.allSatisfy { $0.object == "embedding" })
        #expect(answer.object == "list" && answer.model == fixture.engine.modelName)
        let pieces = try await Client(connectingTo: fixture.unixEndpoint).tokenize(texts).reduce(0) { $0 + $1.ids.count }
        #expect(answer.usage.prompt_tokens == pieces && answer.usage.total_tokens == pieces)

        let encoded = try await peer.ask(
            "POST", "/v1/embeddings", "{\"input\":\(json(texts)),\"encoding_format\":\"base64\",\"dimensions\":null}")
        let bytes = try decoded(OpenAIAnswer<Data>.self, encoded).data.reduce(Data()) { $0 + $1.embedding }
        #expect(bytes == fixture.vectors(texts).vectors.withUnsafeBytes { Data($0) })

        let rows = try await peer.ask("POST", "/embed", "{\"inputs\":\(json(texts)),\"normalize\":true}")
        #expect(try decoded([[Float]].self, rows).joined().map(\.bitPattern) == expected)
        let alone = try await peer.ask("POST", "/embed", #"{"inputs":"x"}"#)
        #expect(try decoded([[Float]].self, alone).joined().map(\.bitPattern) == fixture.vectors(["x"]).vectors.map(\.bitPattern))
        #expect(fixture.metric("sae_requests_total{method=\"Embed\",transport=\"http\",code=\"OK\"}") == 4)
        #expect(await eventually { fixture.metric("sae_buffer_bytes") == 0 })
    }

    @Test func `leading dimensions, similarities and pieces are those of the frames`() async throws {
        let fixture = try ServiceFixture()
        let peer = try peer(fixture)
        let client = try await Client(connectingTo: fixture.unixEndpoint)
        var options = EmbedOptions()
        options.dimensions = 64
        let expected = try await client.embed(texts, options: options).vectors.map(\.bitPattern)
        for (path, name) in [("/v1/embeddings", "input"), ("/embed", "inputs")] {
            let answer = try await peer.ask("POST", path, "{\"\(name)\":\(json(texts)),\"dimensions\":64}")
            let rows =
                path == "/embed" ? try decoded([[Float]].self, answer)
                : try decoded(OpenAIAnswer<[Float]>.self, answer).data.map(\.embedding)
            #expect(rows.joined().map(\.bitPattern) == expected)
        }
        let cosines = try await peer.ask(
            "POST", "/similarity", "{\"inputs\":{\"sentences\":\(json(texts)),\"source_sentence\":\"a cat\"}}")
        let matrix = try await client.similarity(["a cat"], texts)
        #expect(try decoded([Float].self, cosines).map(\.bitPattern) == matrix.cosines.map(\.bitPattern))

        struct Piece: Decodable, Equatable {
            var id: UInt32
            var text: String
            var special: Bool
            var start: UInt32
            var stop: UInt32
        }
        let answer = try await peer.ask("POST", "/tokenize", "{\"inputs\":\(json(texts))}")
        let pieces = try await client.tokenize(texts).map { text in
            text.ids.indices.map {
                Piece(
                    id: text.ids[$0], text: String(decoding: text.pieces[$0], as: UTF8.self), special: false,
                    start: UInt32(text.spans[$0].lowerBound), stop: UInt32(text.spans[$0].upperBound))
            }
        }
        #expect(try decoded([[Piece]].self, answer) == pieces)
    }

    @Test func `an over-long text is cut only where the client allows it`() async throws {
        let fixture = try ServiceFixture { $0.maximumTextBytes = 20 }
        let peer = try peer(fixture)
        let long = "the river and the cat watch the dog"
        let refused = try await peer.ask("POST", "/embed", "{\"inputs\":[\"x\",\"\(long)\"]}")
        #expect(refused.status == 422)
        #expect(try decoded(InferenceError.self, refused).error.contains("text 1: the text is longer than 20 bytes (limits.max_text_bytes)"))
        var options = EmbedOptions()
        options.truncates = true
        let expected = try await Client(connectingTo: fixture.unixEndpoint).embed([long], options: options)
        let cut = try await peer.ask("POST", "/embed", "{\"inputs\":\"\(long)\",\"truncate\":true}")
        #expect(try decoded([[Float]].self, cut).joined().map(\.bitPattern) == expected.vectors.map(\.bitPattern))
    }

    @Test func `the model is described in both shapes`() async throws {
        let fixture = try ServiceFixture { $0.modelName = "a \"name\"" }
        let peer = try peer(fixture)
        let models = try await peer.ask("GET", "/v1/models")
        #expect(models.text == #"{"object":"list","data":[{"id":"a \"name\"","object":"model","created":0,"owned_by":"sae"}]}"#)
        struct Description: Decodable {
            var model_id: String
            var model_sha: String
            var max_client_batch_size: Int
            var auto_truncate: Bool
        }
        let info = try decoded(Description.self, try await peer.ask("GET", "/info"))
        #expect(info.model_id == "a \"name\"" && info.model_sha.count == 64)
        #expect(info.max_client_batch_size == 2_048 && !info.auto_truncate)
    }

    @Test(arguments: [
        (#"{"input":[]}"#, 400, "input", nil), (#"{"input":""}"#, 400, "input", nil), (#"{}"#, 400, "input", nil),
        (#"{"input":null}"#, 400, "input", nil), (#"{"input":5}"#, 400, "input", nil),
        (#"{"input":[1,2]}"#, 400, "input", "token_ids_unsupported"), (#"{"input":[[1],[2]]}"#, 400, "input", "token_ids_unsupported"),
        (#"{"input":["x",{}]}"#, 400, "input", nil), (#"{"input":["x",""]}"#, 400, "input", nil),
        (#"{"input":"x","encoding_format":"hex"}"#, 400, "encoding_format", nil),
        (#"{"input":"x","dimensions":0}"#, 400, "dimensions", nil), (#"{"input":"x","dimensions":1.5}"#, 400, "dimensions", nil),
        (#"{"input":"x","dimensions":"8"}"#, 400, "dimensions", nil), (#"{"input":"x","dimensions":257}"#, 400, "dimensions", nil),
        (#"{"input":["a","b","c","d"]}"#, 400, nil, "limits.max_texts_per_request"),
        (#"{"input":"x""#, 400, nil, nil), (#"["x"]"#, 400, nil, nil), (#"{"input":"x"} {}"#, 400, nil, nil),
        (#"{"input":"\ud800"}"#, 400, nil, nil), (#"{"input":"x","input":"y"}"#, 400, nil, nil),
        (#"{"a":[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]],"input":"x"}"#, 400, nil, nil),
    ] as [(String, Int, String?, String?)])
    func `a bad body is refused in OpenAI's shape`(body: String, status: Int, param: String?, code: String?) async throws {
        let fixture = try ServiceFixture { $0.maximumTextsPerRequest = 3 }
        let peer = try peer(fixture)
        let answer = try await peer.ask("POST", "/v1/embeddings", body)
        let error = try decoded(OpenAIError.self, answer).error
        #expect(answer.status == status && error.type == "invalid_request_error", "\(error)")
        #expect(error.param == param && error.code == code, "\(error)")
        // The connection lives.
        #expect(try await peer.ask("POST", "/v1/embeddings", #"{"input":"x"}"#).status == 200)
    }

    @Test(arguments: [
        ("/embed", #"{"inputs":""}"#, 400, "Empty"), ("/embed", #"{"inputs":[]}"#, 400, "Empty"),
        ("/embed", #"{"inputs":["x",""]}"#, 422, "Validation"), ("/embed", #"{"inputs":7}"#, 422, "Validation"),
        ("/embed", #"{"inputs":"x","normalize":false}"#, 422, "Validation"),
        ("/embed", #"{"inputs":"x","prompt_name":"query"}"#, 422, "Validation"),
        ("/embed", #"{"inputs":"x","truncation_direction":"left"}"#, 422, "Validation"),
        ("/embed", #"{"inputs":"x","truncate":1}"#, 422, "Validation"), ("/embed", #"{"inputs":"#, 400, "Validation"),
        ("/similarity", #"{"inputs":{"sentences":["x"]}}"#, 422, "Validation"),
        ("/similarity", #"{"inputs":{"source_sentence":"x","sentences":[]}}"#, 400, "Empty"),
        ("/similarity", #"{"inputs":{"source_sentence":"x","sentences":["y",""]}}"#, 422, "Validation"),
        ("/similarity", #"{"inputs":["x","y"]}"#, 422, "Validation"), ("/tokenize", #"{"inputs":[]}"#, 400, "Empty"),
        ("/tokenize", #"{"inputs":["x",""]}"#, 422, "Validation"),
    ])
    func `a bad body is refused in the shape of text-embeddings-inference`(
        path: String, body: String, status: Int, type: String
    ) async throws {
        let fixture = try ServiceFixture()
        let answer = try await peer(fixture).ask("POST", path, body)
        #expect(answer.status == status)
        #expect(try decoded(InferenceError.self, answer).error_type == type)
    }

    @Test func `a full queue is 429, with the time to wait`() async throws {
        let fixture = try ServiceFixture { $0.queueMaximumTexts = 1 }
        let peer = try peer(fixture)
        let answer = try await peer.ask("POST", "/v1/embeddings", #"{"input":["x","y"]}"#)
        let error = try decoded(OpenAIError.self, answer).error
        #expect(answer.status == 429 && error.type == "server_overloaded" && error.code == "queue.max_texts")
        #expect(answer.fields["retry-after"] == "1" && Int(answer.fields["retry-after-ms"] ?? "") ?? 0 >= 10)
        let other = try await peer.ask("POST", "/embed", #"{"inputs":["x","y"]}"#)
        #expect(other.status == 429)
        #expect(try decoded(InferenceError.self, other).error_type == "Overloaded")
        #expect(fixture.metric("sae_refusals_total{limit=\"queue.max_texts\"}") == 2)
    }

    @Test func `a deadline that passes is 504, and nothing stays behind`() async throws {
        let fixture = try ServiceFixture(PressureTests.slowDown)
        let slow = PressureTests.slowWork.prefix(600).map { String(decoding: $0, as: UTF8.self) }
        try await fixture.beside {
            let peer = try peer(fixture)
            let body = "{\"input\":\(try json(slow))}"
            let answer = try await peer.ask("POST", "/v1/embeddings", body, fields: ["x-sae-timeout-ms: 60"])
            #expect(answer.status == 504 && answer.fields["x-should-retry"] == "false")
            #expect(try decoded(OpenAIError.self, answer).error.code == "deadline_exceeded")
            #expect(try await peer.ask("POST", "/v1/embeddings", #"{"input":"x"}"#, fields: ["x-sae-timeout-ms: 0"]).status == 400)
        }
    }

    @Test func `what a late request holds is released once, whoever leaves it last`() async throws {
        let fixture = try ServiceFixture { $0.batchMaximumTexts = 1 }
        // While the port's loop reads such a body, both workers come to a late request: one drops it, the other leaves it.
        let long = "{\"other\":[\(Array(repeating: "1", count: 2_000_000).joined(separator: ","))],\"inputs\":\"x\"}"
        let slow = PressureTests.slowWork.prefix(300).map { String(decoding: $0, as: UTF8.self) }
        let body = "{\"inputs\":\(try json(slow))}"
        let isOver = Mutex<Bool>.Box(false)
        async let reader: Void = { () async throws -> Void in
            let peer = try self.peer(fixture)
            while !isOver.mutex.withLock({ $0 }) { #expect(try await peer.ask("POST", "/embed", long).status == 200) }
        }()
        let peer = try self.peer(fixture)
        for _ in 0..<20 {
            let status = try await peer.ask("POST", "/embed", body, fields: ["x-sae-timeout-ms: 50"]).status
            #expect(status == 504 || status == 200)
        }
        isOver.mutex.withLock { $0 = true }
        try await reader
        #expect(await eventually { fixture.metric("sae_queue_texts") == 0 && fixture.metric("sae_buffer_bytes") == 0 })
    }

    @Test func `a client that leaves takes its request with it`() async throws {
        let fixture = try ServiceFixture {
            PressureTests.slowDown(&$0)
            $0.maximumHTTPBodyBytes = 16_777_216
        }
        let slow = PressureTests.slowWork.map { String(decoding: $0, as: UTF8.self) }
        let body = "{\"inputs\":\(try json(slow))}"
        for count in 1...2 {
            let peer = try peer(fixture)
            try await peer.send(HTTPPeer.request("POST", "/embed", body))
            #expect(await eventually(60) { fixture.metric("sae_request_texts_count") == Double(count) })
            withExtendedLifetime(peer) {}
        }
        #expect(await eventually(30) { fixture.metric("sae_buffer_bytes") == 0 && fixture.metric("sae_queue_texts") == 0 })
        #expect(await eventually { fixture.metric("sae_connections{transport=\"http\"}") == 0 })
        // On a fast machine a request may be answered before its client is seen to have left.
        #expect(await eventually { ended("CANCELLED") + ended("OK") == 2 })
        func ended(_ code: String) -> Double {
            fixture.metric("sae_requests_total{method=\"Embed\",transport=\"http\",code=\"\(code)\"}")
        }
    }

    @Test func `a drain answers what is under way, then refuses, then closes`() async throws {
        let fixture = try ServiceFixture {
            $0.drainLameDuck = .milliseconds(1)
            $0.drainGrace = .seconds(60)
            $0.workerCount = 1
        }
        let sentences = GeneratedText.sentences(2_000, seed: 3)
        let (busy, idle) = (try peer(fixture), try peer(fixture))
        try await busy.send(HTTPPeer.request("POST", "/embed", "{\"inputs\":\(try json(sentences))}"))
        try #require(await eventually(30) { fixture.metric("sae_request_texts_count") == 1 })
        fixture.service.drain()
        try #require(await eventually { fixture.service.state != .serving })
        let answer = try await busy.answer()
        #expect(try decoded([[Float]].self, answer).joined().map(\.bitPattern) == fixture.vectors(sentences).vectors.map(\.bitPattern))
        try await idle.send(HTTPPeer.request("POST", "/v1/embeddings", #"{"input":"x"}"#))
        if let refused = try? await idle.answer() {
            #expect(refused.status == 503 && refused.fields["retry-after"] == "1" && refused.fields["connection"] == "close")
            #expect(try decoded(OpenAIError.self, refused).error.code == "draining")
        }
        #expect(await eventually(10) { fixture.service.state == .stopped })
        #expect(try await busy.remainder() == "")
    }

    @Test func `a request's own name comes back and is logged`() async throws {
        let fixture = try ServiceFixture()
        let peer = try peer(fixture)
        let answer = try await peer.ask("POST", "/embed", #"{"inputs":"x"}"#, fields: ["X-Request-Id: job-7"])
        #expect(answer.fields["x-request-id"] == "job-7")
        #expect(await eventually { fixture.log.contains { $0.contains("\"request_id\":\"job-7\"") } })
        let long = try await peer.ask("GET", "/info", fields: ["X-Request-Id: \(String(repeating: "a", count: 65))"])
        #expect(long.status == 200 && long.fields["x-request-id"] == nil)
    }

    @Test func `without the APIs their routes do not exist`() async throws {
        let fixture = try ServiceFixture { $0.httpAPI = false }
        let peer = try peer(fixture)
        #expect(try await peer.ask("GET", "/readyz").status == 200)
        #expect(try await peer.ask("GET", "/v1/models").status == 404)
        #expect(try await peer.ask("POST", "/embed", "{}").status == 404)
    }
}
