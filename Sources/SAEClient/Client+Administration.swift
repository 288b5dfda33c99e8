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
}
