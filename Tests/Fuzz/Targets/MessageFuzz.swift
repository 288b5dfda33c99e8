import Messages
import SwiftProtobuf
import Wire

/// Protobuf messages of strangers.
///
/// The first byte of an input chooses the message. What is accepted comes back equal from its own bytes. EmbedRequest is also read
/// by the decoder without generated types, and EmbedResponse written by such an encoder: both have to agree with the generated ones.
package func fuzzMessages(_ input: UnsafeRawBufferPointer) {
    guard let choice = input.first else { return }
    let bytes = Array(input.dropFirst())
    if choice % 32 == 0 { compareRequests(bytes) }
    if choice % 32 == 1 { compareResponses(bytes) }
    if let check = checks[Int(choice) % 32] { check(bytes) }
}

private let checks: [Int: @Sendable ([UInt8]) -> Void] = {
    let types: [any Message.Type] = [
        Sae_V1_EmbedRequest.self, Sae_V1_EmbedResponse.self, Sae_V1_Hello.self, Sae_V1_Status.self, Sae_V1_GoAway.self,
        Sae_V1_EmbedChunk.self, Sae_V1_SimilarityRequest.self, Sae_V1_SimilarityResponse.self, Sae_V1_TokenizeRequest.self,
        Sae_V1_TokenizeResponse.self, Sae_V1_TraceRequest.self, Sae_V1_TraceResponse.self, Sae_V1_InfoRequest.self,
        Sae_V1_InfoResponse.self, Sae_V1_HealthCheckRequest.self, Sae_V1_HealthCheckResponse.self, Sae_V1_ReloadRequest.self,
        Sae_V1_ReloadResponse.self, Sae_V1_DrainRequest.self, Sae_V1_DrainResponse.self, Sae_V1_Job.self,
        Sae_V1_CreateJobRequest.self, Sae_V1_JobRequest.self, Sae_V1_PutJobInputRequest.self, Sae_V1_PutJobInputResponse.self,
        Sae_V1_StartJobRequest.self, Sae_V1_ListJobsRequest.self, Sae_V1_ListJobsResponse.self, Sae_V1_GetJobOutputRequest.self,
    ]
    return Dictionary(uniqueKeysWithValues: types.enumerated().map { ($0, check($1)) })
}()

/// A message that was accepted is written and read again.
private func check(_ type: any Message.Type) -> @Sendable ([UInt8]) -> Void {
    func typed<M: Message>(_: M.Type) -> @Sendable ([UInt8]) -> Void {
        { bytes in
            guard let message = wireMessage(M.self, bytes) else { return }
            let written = wireBytes(message)
            guard let again = wireMessage(M.self, written) else { preconditionFailure("its own bytes are refused") }
            // Not a comparison of messages: a NaN differs from itself.
            precondition(wireBytes(again).count == written.count, "its own bytes are another message")
        }
    }
    return typed(type)
}

/// Whatever the short decoder takes, the generated one takes as the same.
private func compareRequests(_ bytes: [UInt8]) {
    var fields = EmbedRequestFields()
    let maximum = 64
    do throws(EmbedRequestFields.Failure) {
        var failure: EmbedRequestFields.Failure?
        bytes.withUnsafeBytes { buffer in
            do throws(EmbedRequestFields.Failure) { try fields.decode(buffer, maximumTexts: maximum) } catch { failure = error }
        }
        if let failure { throw failure }
    } catch {
        if error == .tooManyTexts { precondition(fields.lengths.count == maximum, "refused for texts that it does not have") }
        return
    }
    precondition(fields.lengths.count <= maximum, "more texts than allowed")
    guard let message = wireMessage(Sae_V1_EmbedRequest.self, bytes) else {
        preconditionFailure("the generated decoder refuses what is served")
    }
    precondition(message.lengths == fields.lengths, "other lengths")
    precondition(UInt32(truncatingIfNeeded: message.encoding.rawValue) == fields.encoding, "another encoding")
    precondition(message.dimensions == fields.dimensions && message.truncate == fields.truncate, "other options")
    precondition(message.ifGeneration == fields.ifGeneration && message.wantPieces == fields.wantPieces, "other options")
    precondition(message.temperature.bitPattern == fields.temperature.bitPattern, "another temperature")
}

/// The short encoder writes the bytes of the generated one.
private func compareResponses(_ bytes: [UInt8]) {
    guard var message = wireMessage(Sae_V1_EmbedResponse.self, bytes) else { return }
    // What the daemon never has.
    message.unknownFields = UnknownStorage()
    for index in message.errors.indices { message.errors[index].unknownFields = UnknownStorage() }
    var fields = EmbedResponseFields()
    fields.count = message.count
    fields.dimensions = message.dimensions
    fields.encoding = UInt32(truncatingIfNeeded: message.encoding.rawValue)
    fields.generation = message.generation
    fields.errors = message.errors.map {
        EmbedResponseFields.RowError(index: $0.index, code: $0.code, message: $0.message, limit: $0.limit)
    }
    fields.pieces = message.pieces
    fields.truncated = message.truncated
    fields.queueMicroseconds = message.queueUs
    fields.computeMicroseconds = message.computeUs
    var written: [UInt8] = []
    fields.encode(to: &written)
    guard fields.encoding < 4 else { return }
    precondition(written == wireBytes(message), "other bytes than the generated encoder's")
}
