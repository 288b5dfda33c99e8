import Foundation
import SAEClient
import SAEEngine
import TestPeers
import TestSupport
import Testing

/// The cases that every client plays (`proto-spec/cases.json`); the Python client's turn is in `Tests/Python`.
struct ClientCaseTests {
    private struct Case: Decodable, Sendable, CustomTestStringConvertible {
        struct Expectation: Decodable, Sendable {
            struct RowFailure: Decodable, Sendable, Equatable {
                var index: Int
                var code: String
                var limit: String

                init(_ error: RowError) {
                    (index, limit) = (error.index, error.limit)
                    code = error.code == 3 ? "INVALID_ARGUMENT" : String(error.code)
                }

                init(from decoder: any Decoder) throws {
                    var values = try decoder.unkeyedContainer()
                    index = try values.decode(Int.self)
                    code = try values.decode(String.self)
                    limit = try values.decode(String.self)
                }
            }
            var status: String
            var limit: String?
            var rows: Int?
            var dimensions: Int?
            var errors: [RowFailure]?
            var truncated: [Int]?
            var shape: [Int]?
            var state: String?
            var failed: Int?
        }
        var name: String
        var call: String
        var texts: [String]?
        var hex: [String]?
        var left: [String]?
        var `repeat`: [String: Int]?
        var times: Int?
        var encoding: String?
        var dimensions: Int?
        var truncate: Bool?
        var temperature: Float?
        var if_generation: UInt64?
        var service: String?
        /// Of a job: its input, where that is not `texts`; its options; and the calls that are made for it.
        var lines: [String]?
        var text_field: String?
        var fail_on_error: Bool?
        var steps: [String]?
        var expect: Expectation

        var testDescription: String { name }

        var bytes: [[UInt8]] {
            var all = (texts ?? []).map { Array($0.utf8) }
            all += (hex ?? []).map { hex in
                stride(from: 0, to: hex.utf8.count, by: 2).compactMap { UInt8(hex.dropFirst($0).prefix(2), radix: 16) }
            }
            for (index, count) in self.repeat ?? [:] {
                guard let index = Int(index) else { continue }
                all[index] = Array(repeatElement(all[index], count: count).joined())
            }
            return Array(repeatElement(all, count: times ?? 1).joined())
        }
    }

    private static let cases: [Case] = {
        let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        guard let data = try? Data(contentsOf: folder.appending(path: "proto-spec/cases.json")) else { return [] }
        return (try? JSONDecoder().decode([Case].self, from: data)) ?? []
    }()

    @Test func `there are cases`() { #expect(Self.cases.count > 40 && Self.cases.contains { $0.call == "job" }) }

    @Test(arguments: cases)
    private func `the client plays a case`(_ each: Case) async throws {
        let fixture = try ServiceFixture()
        let client = try await Client(connectingTo: fixture.unixEndpoint)
        var (status, limit) = ("OK", "")
        do throws(ClientError) {
            switch each.call {
            case "embed": try await embed(each, client, fixture)
            case "stream": try await stream(each, client)
            case "similarity": try await similarity(each, client)
            case "tokenize": try await tokenize(each, client)
            case "job": try await job(each, client)
            default: #expect(try await client.health(of: each.service ?? "") == .serving)
            }
        } catch { (status, limit) = (error.code.name, error.limit) }
        #expect(status == each.expect.status && limit == each.expect.limit ?? "")
    }

    private static let encodings: [String: SAEClient.VectorEncoding] = ["F16": .float16, "INT8": .int8, "BINARY": .binary]

    private func job(_ each: Case, _ client: Client) async throws(ClientError) {
        var specification = JobSpecification()
        specification.key = "case"
        if let field = each.text_field { specification.input = .jsonl(textField: field) }
        specification.encoding = each.encoding.flatMap { Self.encodings[$0] } ?? .float32
        specification.dimensions = each.dimensions ?? 0
        specification.failsOnError = each.fail_on_error ?? false
        let texts = each.bytes
        var player = JobCasePlayer(client, specification, lines: each.lines.map { $0.map { Array($0.utf8) } } ?? texts)
        var failure: (any Error)?
        do { for step in each.steps ?? [] { try await player.play(step) } } catch { failure = error }
        #expect(player.last.map { "\($0.state)".uppercased() } == each.expect.state)
        #expect(player.last.map { Int($0.rowCount) } == each.expect.rows && player.last.map { Int($0.failedRowCount) } == each.expect.failed)
        #expect((player.file == nil) == !(each.steps ?? []).contains("fetch"))
        if let file = player.file {
            var options = EmbedOptions()
            options.dimensions = specification.dimensions
            let answer = try await client.embed(
                bytes: Array(texts.joined()), lengths: texts.map { UInt32($0.count) }, as: specification.encoding, options: options)
            // A text without a vector is a row of zeros in both; the scales of signed bytes have a file of their own.
            #expect(file.count > 128 && answer.bytes.starts(with: file[128...]))
        }
        if let failure {
            guard let failure = failure as? ClientError else {
                Issue.record("\(failure)")
                return
            }
            throw failure
        }
    }

    private func options(_ each: Case) -> (SAEClient.VectorEncoding, EmbedOptions) {
        var options = EmbedOptions()
        options.dimensions = each.dimensions ?? 0
        options.truncates = each.truncate ?? false
        options.temperature = each.temperature ?? 0
        options.generation = each.if_generation ?? 0
        options.countsPieces = true
        return (each.encoding.flatMap { Self.encodings[$0] } ?? .float32, options)
    }

    private func stream(_ each: Case, _ client: Client) async throws(ClientError) {
        let (encoding, options) = options(each)
        let texts = each.bytes
        let sequence = AsyncStream { continuation in
            for text in texts { continuation.yield(String(decoding: text, as: UTF8.self)) }
            continuation.finish()
        }
        var (rows, bytes, scales): (Int, [UInt8], Int) = (0, [], 0)
        var (errors, truncated): ([Case.Expectation.RowFailure], [Int]) = ([], [])
        do {
            for try await part in client.embedStream(sequence, as: encoding, options: options) {
                for var error in part.errors {
                    error.index += rows
                    errors.append(.init(error))
                }
                truncated += part.truncated.map { $0 + rows }
                rows += part.count
                bytes += part.bytes
                scales += part.scales.count
                #expect(part.pieceCounts.count == part.count)
                #expect(each.expect.dimensions == nil || part.dimensions == each.expect.dimensions)
            }
        } catch {
            guard let error = error as? ClientError else {
                Issue.record("\(error)")
                return
            }
            throw error
        }
        #expect(rows == each.expect.rows && errors == each.expect.errors ?? [] && truncated == each.expect.truncated ?? [])
        #expect(scales == (encoding == .int8 ? rows : 0))
        // The same bits as in one call, whose cases compare them with the engine's.
        guard rows > 0 else { return }
        let whole = try await client.embed(
            bytes: Array(texts.joined()), lengths: texts.map { UInt32($0.count) }, as: encoding, options: options,
            timeout: .seconds(60) * patience)
        #expect(bytes == whole.bytes)
    }

    private func embed(_ each: Case, _ client: Client, _ fixture: ServiceFixture) async throws(ClientError) {
        let (encoding, options) = options(each)
        let texts = each.bytes
        let answer = try await client.embed(
            bytes: Array(texts.joined()), lengths: texts.map { UInt32($0.count) }, as: encoding, options: options,
            timeout: .seconds(60) * patience)
        #expect(answer.count == each.expect.rows && answer.pieceCounts.count == answer.count)
        #expect(each.expect.dimensions == nil || answer.dimensions == each.expect.dimensions)
        #expect(answer.errors.map(Case.Expectation.RowFailure.init) == each.expect.errors ?? [])
        #expect(answer.truncated == each.expect.truncated ?? [])
        // Bits of whole rows are the engine's; the other encodings have tests of their own.
        guard encoding == .float32, options.dimensions == 0, !options.truncates else { return }
        let temperature = options.temperature == 0 ? .fitted : Temperature(options.temperature) ?? .fitted
        let expected = fixture.vectors(texts, temperature: temperature).vectors.withUnsafeBytes { Array($0) }
        #expect(answer.bytes == expected)
    }

    private func similarity(_ each: Case, _ client: Client) async throws(ClientError) {
        let texts = each.bytes.map { String(decoding: $0, as: UTF8.self) }
        let matrix = try await client.similarity(each.left ?? texts, each.left == nil ? [] : texts)
        #expect([matrix.rows, matrix.columns] == each.expect.shape)
    }

    private func tokenize(_ each: Case, _ client: Client) async throws(ClientError) {
        let answer = try await client.tokenize(each.bytes.map { String(decoding: $0, as: UTF8.self) })
        #expect(answer.count == each.expect.rows)
        #expect(answer.compactMap(\.error).map(Case.Expectation.RowFailure.init) == each.expect.errors ?? [])
    }
}
