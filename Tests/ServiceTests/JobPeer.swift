import Bytes
import Foundation
import Messages
import SwiftProtobuf
import TestPeers
import Wire

/// Talks about jobs frame by frame, without a client of ours.
final class JobPeer {
    struct Refused: Error, CustomStringConvertible {
        let description: String
    }

    private let peer: RawPeer
    private var stream: UInt32 = 1

    init(_ endpoint: String) async throws { peer = try await RawPeer.greeted(endpoint) }

    private func next() -> UInt32 {
        defer { stream += 2 }
        return stream
    }

    /// A unary call.
    func call<Answer: Message>(_ method: Method, _ message: some Message, as _: Answer.Type = Answer.self) async throws -> Answer {
        let stream = next()
        try await peer.send(frame(.request, flags: .last, method: method.rawValue, stream: stream, message: wireBytes(message)))
        let answer = try await answer(on: stream)
        guard answer.header.type == .message, let message = wireMessage(Answer.self, answer.message) else {
            throw Refused(description: words(answer))
        }
        return message
    }

    /// The next message or END of a stream.
    private func answer(on stream: UInt32) async throws -> Frame {
        while let frame = try await peer.frame(within: 20) {
            if frame.header.stream == stream, frame.header.type != .credit { return frame }
        }
        throw Refused(description: "the connection ended")
    }

    func create(_ edit: (inout Sae_V1_JobSpec) -> Void = { _ in }) async throws -> Sae_V1_Job {
        let request = Sae_V1_CreateJobRequest.with {
            $0.spec.upload = true
            edit(&$0.spec)
        }
        return try await call(.createJob, request)
    }

    func job(_ method: Method, _ id: String) async throws -> Sae_V1_Job {
        try await call(method, Sae_V1_JobRequest.with { $0.id = id })
    }

    /// Uploads in messages of `count` bytes; what the server says is on disk.
    func put(_ bytes: [UInt8], to id: String, at offset: Int = 0, by count: Int = 30_000) async throws -> Int {
        let stream = next()
        let opening = Sae_V1_PutJobInputRequest.with {
            $0.id = id
            $0.offset = UInt64(offset)
        }
        try await peer.send(frame(.request, method: Method.putJobInput.rawValue, stream: stream, message: wireBytes(opening)))
        for start in stride(from: 0, to: bytes.count, by: count) {
            let part = Array(bytes[start..<min(start + count, bytes.count)])
            try await peer.send(frame(.message, stream: stream, attachment: part))
        }
        try await peer.send(frame(.end, stream: stream))
        let answer = try await answer(on: stream)
        guard answer.header.type == .message, let message = wireMessage(Sae_V1_PutJobInputResponse.self, answer.message) else {
            throw Refused(description: words(answer))
        }
        let end = try await self.answer(on: stream)
        guard end.header.type == .end, end.header.argument == 0 else { throw Refused(description: words(end)) }
        return Int(message.durableBytes)
    }

    func start(_ id: String, _ bytes: [UInt8]) async throws -> Sae_V1_Job {
        let request = Sae_V1_StartJobRequest.with {
            $0.id = id
            $0.inputBytes = UInt64(bytes.count)
            $0.sha256 = .init(bytes.withUnsafeBytes { SHA256.digest(of: $0) })
        }
        return try await call(.startJob, request)
    }

    /// All that a watch tells, to its end.
    func watch(_ id: String) async throws -> [Sae_V1_Job] {
        let stream = next()
        let request = Sae_V1_JobRequest.with { $0.id = id }
        try await peer.send(frame(.request, flags: .last, method: Method.watchJob.rawValue, stream: stream, message: wireBytes(request)))
        var told: [Sae_V1_Job] = []
        while true {
            let answer = try await answer(on: stream)
            if answer.header.type == .end {
                guard answer.header.argument == 0 else { throw Refused(description: words(answer)) }
                return told
            }
            if let job = wireMessage(Sae_V1_Job.self, answer.message) { told.append(job) }
        }
    }

    /// The bytes of a file, or of a part of one.
    func output(_ file: String, of id: String, from offset: Int = 0, count: Int = 0) async throws -> [UInt8] {
        let stream = next()
        let request = Sae_V1_GetJobOutputRequest.with {
            $0.id = id
            $0.file = file
            $0.offset = UInt64(offset)
            $0.length = UInt64(count)
        }
        try await peer.send(
            frame(.request, flags: .last, method: Method.getJobOutput.rawValue, stream: stream, message: wireBytes(request)))
        var bytes: [UInt8] = []
        while true {
            let answer = try await answer(on: stream)
            if answer.header.type == .end {
                guard answer.header.argument == 0 else { throw Refused(description: words(answer)) }
                return bytes
            }
            bytes += answer.attachment
            try await peer.send(frame(.credit, stream: stream, argument: UInt32(answer.payloadCount)))
        }
    }

    /// A job from its making to its start.
    func submit(_ input: [UInt8], _ edit: (inout Sae_V1_JobSpec) -> Void = { _ in }) async throws -> String {
        let id = try await create(edit).id
        guard try await put(input, to: id) == input.count else { throw Refused(description: "not all of the input is on disk") }
        _ = try await start(id, input)
        return id
    }
}
