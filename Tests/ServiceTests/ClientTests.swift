import Foundation
import Glibc
import Messages
import SAEClient
import SwiftProtobuf
import TestPeers
import TestSupport
import Testing
import Transport
import Wire

/// The Swift client against servers that are none.
@Suite(.serialized) struct ClientTests {
    /// A server that says HELLO to one client and, once it has heard a request, whatever it was given.
    private func liar(
        saying answer: [UInt8], limits: [String: UInt64] = [:], at path: String
    ) throws -> Thread {
        let listener = try Socket.listening(on: .unix(checking: path))
        let number = listener.release()
        let hello = Sae_V1_Hello.with {
            $0.versionMin = 1
            $0.versionMax = 1
            $0.maxFrameBytes = 4_194_304
            $0.initialWindow = 65_536
            $0.limits = limits
        }
        let greeting = frame(.hello, message: wireBytes(hello))
        // A thread of its own: it blocks.
        return Thread {
            defer { close(number) }
            var waiting = pollfd(fd: number, events: Int16(POLLIN), revents: 0)
            guard poll(&waiting, 1, 10_000) == 1 else { return }
            let client = accept(number, nil, nil)
            defer { close(client) }
            var buffer = [UInt8](repeating: 0, count: 4_096)
            _ = recv(client, &buffer, buffer.count, 0)
            _ = send(client, greeting, greeting.count, Int32(MSG_NOSIGNAL))
            guard recv(client, &buffer, buffer.count, 0) > 0 else { return }
            _ = send(client, answer, answer.count, Int32(MSG_NOSIGNAL))
            while recv(client, &buffer, buffer.count, 0) > 0 {}
        }
    }

    private func answered(_ message: some Message, _ attachment: [UInt8] = []) -> [UInt8] {
        frame(.message, flags: .last, stream: 1, message: wireBytes(message), attachment: attachment)
    }

    @Test func `an answer whose sizes overflow is an error`() async throws {
        let folder = try TemporaryFolder()
        let lie = Sae_V1_SimilarityResponse.with {
            $0.rows = .max
            $0.columns = .max
        }
        let server = try liar(saying: answered(lie, [1, 2, 3, 4]), limits: ["limits.max_streams_per_connection": .max], at: folder.path("s"))
        server.start()
        let client = try await Client(connectingTo: "unix:\(folder.path("s"))")
        do {
            _ = try await client.similarity(["a"])
            Issue.record("accepted")
        } catch { #expect(error.code == .internal) }
        client.close()
    }

    @Test func `an error for a row that was not asked for is an error of the answer`() async throws {
        let folder = try TemporaryFolder()
        let lie = Sae_V1_EmbedResponse.with {
            $0.count = 1
            $0.dimensions = 1
            $0.errors = [.with { $0.index = 1; $0.limit = "limits.max_frame_bytes" }]
        }
        let server = try liar(saying: answered(lie, [0, 0, 0, 0]), at: folder.path("s"))
        server.start()
        let client = try await Client(connectingTo: "unix:\(folder.path("s"))")
        do {
            _ = try await client.embed(["a"])
            Issue.record("accepted")
        } catch { #expect(error.code == .internal) }
        client.close()
    }

    @Test func `a server that says nothing is left in time, at connecting and at greeting`() async throws {
        let folder = try TemporaryFolder()
        // Nobody accepts, and only so many wait.
        let listener = try Socket.listening(on: .unix(checking: folder.path("s")), backlog: 1)
        let start = ContinuousClock.now
        for _ in 0..<5 {
            do {
                _ = try await Client(connectingTo: "unix:\(folder.path("s"))", timeout: .milliseconds(300))
                Issue.record("connected")
            } catch { #expect(error.code == .deadlineExceeded || error.code == .unavailable) }
        }
        #expect(ContinuousClock.now - start < .seconds(20) * patience)
        withExtendedLifetime(listener.number) {}
    }
}
