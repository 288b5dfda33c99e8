import Messages
import SwiftProtobuf
import Wire

/// What a reload changed at the server.
public struct ReloadReport: Sendable, Equatable {
    /// The model generation that served before.
    public var generationBefore: UInt64
    /// The one that serves after; the same when the model is.
    public var generationAfter: UInt64
    /// Keys of the settings that are in force with a new value.
    public var changedSettings: [String]
    /// Keys of the settings that were changed and need a restart.
    public var settingsForRestart: [String]
}

/// What was open at the server when it began to drain.
public struct DrainReport: Sendable, Equatable {
    public var streams: Int
    public var connections: Int
}

extension Client {
    /// Makes the server read its settings, tokens and model again, and serve by them from one request to the next. Needs the
    /// role admin.
    ///
    /// - Throws: `failedPrecondition` with the reason; then everything is as it was. `permissionDenied` without the role.
    public func reload(timeout: Duration = .seconds(60)) async throws(ClientError) -> ReloadReport {
        let frame = try await call(.reload, message: [], timeout: timeout)
        guard let response = wireMessage(Sae_V1_ReloadResponse.self, frame.message) else { throw Self.malformed }
        return ReloadReport(
            generationBefore: response.before, generationAfter: response.after, changedSettings: response.changed,
            settingsForRestart: response.needsRestart)
    }

    /// Makes the server take leave: it tells its clients to go elsewhere, answers what is under way and then ends. Repeated, it changes
    /// nothing. Needs the role admin.
    ///
    /// - Parameter grace: for calls that are under way, to the millisecond, at most 49 days; nil: what the server's settings say.
    /// - Throws: `permissionDenied` without the role.
    public func drain(grace: Duration? = nil, timeout: Duration = .seconds(10)) async throws(ClientError) -> DrainReport {
        let request = Sae_V1_DrainRequest.with {
            // 0 is the wire's word for the settings.
            $0.graceMs = grace.map { max(1, UInt32(clamping: nanoseconds($0) / 1_000_000)) } ?? 0
        }
        let frame = try await call(.drain, message: wireBytes(request), timeout: timeout)
        guard let response = wireMessage(Sae_V1_DrainResponse.self, frame.message) else { throw Self.malformed }
        return DrainReport(streams: Int(response.streams), connections: Int(response.connections))
    }
}
