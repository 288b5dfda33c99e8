/// What one side of a connection accepts. The names in configuration, errors and `Info` are `limits.…`.
package struct WireLimits: Sendable {
    /// Largest payload of a frame in bytes (`limits.max_frame_bytes`).
    package var maximumFrameBytes: UInt32 = 4_194_304
    /// Window of a streaming half in bytes (`limits.initial_window`).
    package var initialWindow: UInt32 = 1_048_576
    /// Open streams a connection (`limits.max_streams_per_connection`).
    package var maximumStreams = 128
    /// Of which of streaming methods (`limits.max_streaming_per_connection`).
    package var maximumStreamingStreams = 8
    /// CANCEL, CREDIT, PING and empty MESSAGE frames a second, averaged over a burst of five seconds
    /// (`limits.max_control_frames_per_s`).
    package var maximumControlFramesPerSecond = 1000
    /// Payload of a HELLO, and so of everything before authentication. Fixed by the specification.
    package static let maximumHelloBytes: UInt32 = 4096
    /// The least that both sides must accept, of frames and of windows. Fixed by the specification.
    package static let leastFrameBytes: UInt32 = 65_536
    /// Stream ids end here. Fixed by the specification.
    package static let maximumStreamID: UInt32 = 0x7fff_ffff

    package init() {}
}
