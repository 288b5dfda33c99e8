import Diagnostics
import Dispatch
import Encryption
import Glibc
package import SAEEngine
import Synchronization
import Transport
package import Wire

/// Reads again what a reload may replace, and what it has replaced.
package struct ReloadSource: Sendable {
    /// The settings as file, environment and flags give them by then, validated.
    package let configuration: @Sendable () throws -> Configuration
    /// The engine that serves under these settings.
    package let engine: @Sendable (Configuration) throws -> Engine
    /// An engine of the digest, which may have served before; nil when it cannot be had under these settings any more.
    package let earlier: @Sendable (Configuration, _ digest: [UInt8]) throws -> Engine?

    package init(
        configuration: @escaping @Sendable () throws -> Configuration,
        engine: @escaping @Sendable (Configuration) throws -> Engine,
        earlier: @escaping @Sendable (Configuration, _ digest: [UInt8]) throws -> Engine?
    ) {
        self.configuration = configuration
        self.engine = engine
        self.earlier = earlier
    }
}

/// What a reload changed.
package struct ReloadOutcome: Sendable, Equatable {
    /// Generation ids before and after; the same when the model is.
    package var before: UInt64
    package var after: UInt64
    /// Keys of the settings that are in force with a new value.
    package var changed: [String]
    /// Keys of the settings that were changed and need a restart.
    package var needsRestart: [String]
}

extension Service {
    /// Reads settings and model again and serves by them, in one step: a request sees one generation from start to end, and
    /// none is refused or lost. Blocks while the new engine is opened and tested; from any thread but an I/O queue's.
    ///
    /// - Throws: `failedPrecondition` with the reason; then everything is as it was.
    @discardableResult
    package func reload() throws(Failure) -> ReloadOutcome {
        let result = reloadQueue.sync { Result<ReloadOutcome, Failure> { () throws(Failure) in try reloadNow() } }
        return try result.get()
    }

    /// Reloads without making anybody wait: what is asked for while one more reload is due is that one. A failed one is in the log.
    func reloadSoon() {
        guard !isReloadDue.exchange(true, ordering: .acquiringAndReleasing) else { return }
        reloadQueue.async { [self] in
            isReloadDue.store(false, ordering: .releasing)
            _ = try? reloadNow()
        }
    }

    private func reloadNow() throws(Failure) -> ReloadOutcome {
        notifier.reloading()
        defer { notifier.ready(status: status) }
        do throws(Failure) {
            let outcome = try replaceServing()
            metrics.reloads[0].add()
            metrics.lastReload.store(time(nil), ordering: .relaxed)
            log.write(
                .reload,
                [
                    .generation: String(outcome.after, radix: 16), .changed: outcome.changed.joined(separator: " "),
                    .needsRestart: outcome.needsRestart.joined(separator: " "),
                ])
            if outcome.before != outcome.after {
                log.write(.generationChanged, [.generation: String(outcome.after, radix: 16)])
            }
            return outcome
        } catch {
            metrics.reloads[1].add()
            log.write(.reloadFailed, [.reason: error.message])
            throw error
        }
    }

    private func replaceServing() throws(Failure) -> ReloadOutcome {
        let before = serving
        let (configuration, engine, access, encryption): (Configuration, Engine, Access, EncryptionContext?)
        do {
            guard let source else { throw Failure(.failedPrecondition, "this daemon was given nothing to reload from") }
            let read = try source.configuration().boundToDescriptors(log).withoutMissingFolder(log)
            engine = try source.engine(read)
            try engine.selfTest()
            access = try Access(read)
            encryption = try read.encryption()
            configuration = read
        } catch let error as Failure {
            throw error
        } catch {
            let reason = (error as? any UserFacingError)?.summary ?? String(describing: error)
            throw Failure(.failedPrecondition, "the reload failed: \(reason)")
        }
        // What is open to others stays so.
        guard (access.tokens == nil) == (before.access.tokens == nil) else {
            throw Failure(.failedPrecondition, "the reload failed: to begin or end asking for tokens needs a restart")
        }
        guard (encryption == nil) == (before.encryption == nil) else {
            throw Failure(.failedPrecondition, "the reload failed: to begin or end TLS needs a restart")
        }
        var next = before.configuration
        var outcome = ReloadOutcome(
            before: before.engine.generation, after: engine.generation, changed: [], needsRestart: [])
        for setting in Setting.all where setting.value(in: configuration) != setting.value(in: before.configuration) {
            if setting.isReloadable {
                setting.copy(from: configuration, to: &next)
                outcome.changed.append(setting.key)
            } else {
                outcome.needsRestart.append(setting.key)
            }
        }
        // The same bits: the engine that is warm stays.
        let isSame = engine.digest == before.engine.digest && engine.numerics == before.engine.numerics
        let generation = isSame ? before.generation : Generation(engine, number: before.generation.number + 1)
        current.replace(
            with: Serving(next, access, encryption, generation, workerCount: before.workerCount, started: before.started))
        let others = encryption.flatMap { $0.authorities.isEmpty || $0.authorities == before.encryption?.authorities ? nil : $0 }
        scheduler.setLimits(Scheduler.Limits(next))
        log.setLevel(named: next.logLevel)
        for lane in lanes {
            lane.ioQueue.async { 
                lane.forEach {
                    $0.checkAccess(others)
                    $0.generationChanged(to: generation)
                }
             }
        }
        return outcome
    }
}
