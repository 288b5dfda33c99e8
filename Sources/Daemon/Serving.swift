import Encryption
import SAEEngine
import Synchronization
import Transport

/// An engine that serves or has served. Requests and streams keep the one that they began with.
final class Generation: Sendable {
    let engine: Engine
    /// Ascends with each engine that a reload brought.
    let number: Int

    init(_ engine: Engine, number: Int) {
        self.engine = engine
        self.number = number
    }
}

/// What the daemon serves, and by which settings. Immutable: a reload replaces it whole, so that whoever has asked once
/// sees one state from start to end.
final class Serving: Sendable {
    let configuration: Configuration
    let access: Access
    /// Of TCP and HTTP; nil: plaintext.
    let encryption: EncryptionContext?
    let generation: Generation
    let modelName: String
    let workerCount: Int
    /// When the daemon started; monotonic nanoseconds.
    let started: UInt64

    var engine: Engine { generation.engine }

    init(
        _ configuration: Configuration, _ access: Access, _ encryption: EncryptionContext?, _ generation: Generation,
        workerCount: Int,
        started: UInt64 = monotonicNanoseconds()
    ) {
        self.configuration = configuration
        self.access = access
        self.encryption = encryption
        self.generation = generation
        self.workerCount = workerCount
        self.started = started
        modelName = configuration.modelName.isEmpty ? generation.engine.modelName : configuration.modelName
    }
}

/// The one place that says what serves.
final class CurrentServing: Sendable {
    private let mutex: Mutex<Serving>

    init(_ first: Serving) { mutex = Mutex(first) }

    var value: Serving { mutex.withLock { $0 } }

    func replace(with next: Serving) { mutex.withLock { $0 = next } }
}
